"""The embedded stream: sixteen different tasks from drawings that never change sides."""

from itertools import pairwise

import pytest
import torch

from apd.config import StreamConfig
from apd.data import LocalFolder, load_task
from apd.data.digits import COUNT, INPUT_SHAPE, digits_tasks
from apd.errors import ConfigError

TASKS = {task.name: task for task in digits_tasks()}


def pixels(split):
    """Each drawing as its sorted pixels, which rotation and permutation leave alone, with its digit's group."""
    return {tuple(sorted(picture)) for picture in split.inputs.flatten(1).tolist()}


def test_sixteen_tasks_whose_neighbours_differ():
    names = list(TASKS)
    assert len(names) == COUNT == 16
    assert {"digits-0-4-rot90", "digits-5-9-perm2"} <= set(names)
    groups, ways = zip(*(name.rsplit("-", 1) for name in names), strict=True)
    assert all(one != other for sequence in (groups, ways) for one, other in pairwise(sequence))


def test_tasks_are_complete_and_balanced():
    for task in TASKS.values():
        for part in (task.data.train, task.data.validation, task.data.test):
            assert part.inputs.shape[1:] == INPUT_SHAPE
            assert part.inputs.dtype == torch.uint8
            assert torch.bincount(part.labels, minlength=5).min() > 20
        assert len(task.classes) == 5
    pictures = TASKS["digits-0-4-rot0"].data.train.inputs
    assert (pictures.min(), pictures.max()) == (0, 255)


def test_no_drawing_is_trained_on_in_one_task_and_tested_in_another():
    for group in ("0-4", "5-9"):
        tasks = [task.data for name, task in TASKS.items() if name.startswith(f"digits-{group}")]
        tested, trained = set().union(*(pixels(t.test) for t in tasks)), set().union(*(pixels(t.train) for t in tasks))
        assert not tested & trained
        assert len(tested) == len(tasks[0].test)


def test_ways_are_rotations_and_permutations_of_the_same_drawings():
    upright, turned = (TASKS[f"digits-0-4-{way}"].data.test for way in ("rot0", "rot90"))
    assert torch.equal(upright.inputs.rot90(1, (2, 3)), turned.inputs)
    shuffled = [TASKS[f"digits-0-4-perm{number}"].data.test.inputs for number in (1, 2, 3, 4)]
    assert len({tuple(pictures[0].flatten().tolist()) for pictures in shuffled}) == 4
    assert torch.equal(shuffled[0].flatten(1).sort().values, upright.inputs.flatten(1).sort().values)


def test_a_task_survives_its_folder(tmp_path):
    task = TASKS["digits-5-9-perm2"]
    info = task.write(tmp_path)
    loaded = load_task(LocalFolder(tmp_path), StreamConfig(INPUT_SHAPE))
    assert (info.name, info.classes) == (task.name, ("5", "6", "7", "8", "9"))
    for found, expected in ((loaded.train, task.data.train), (loaded.test, task.data.test)):
        assert torch.equal(found.inputs, expected.inputs)
        assert torch.equal(found.labels, expected.labels)


def test_fewer_tasks_are_the_first_ones_and_more_are_refused():
    assert [task.name for task in digits_tasks(3)] == list(TASKS)[:3]
    with pytest.raises(ConfigError, match="number of digits tasks is 17 but must be from 1 to 16"):
        next(digits_tasks(17))
