"""A stream of sixteen small tasks from the 1,797 handwritten digits that scikit-learn ships: 8x8 pixels, 17 greys.

Two groups of digits (0 to 4, 5 to 9) are each seen in eight ways: rotated by 0, 90, 180 and 270 degrees, and through
four fixed permutations of the pixels. Neighbouring tasks differ in both group and way, so that a network which is only
fine-tuned forgets. The drawings are split once, before any task is made: none is trained on in one task and tested in
another.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from apd.config import SplitConfig, require
from apd.data.splits import Split, TaskData, permutation, split_rows
from apd.data.tasks import NamedTask

INPUT_SHAPE = (1, 8, 8)
GROUPS = ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9))
WAYS = ("rot0", "perm1", "rot90", "perm2", "rot180", "perm3", "rot270", "perm4")
COUNT = len(GROUPS) * len(WAYS)


def digits_tasks(count: int = COUNT) -> Iterator[NamedTask]:
    """The first `count` of the sixteen tasks, always the same: five classes each, inputs (1, 8, 8) uint8."""
    from sklearn.datasets import load_digits  # late: with it, importing a flow takes 5.6 s of CPU instead of 3.9

    require(1 <= count <= COUNT, "number of digits tasks", count, f"from 1 to {COUNT}")
    digits = load_digits()
    pictures = torch.from_numpy(digits.images * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
    everything = Split(pictures, torch.from_numpy(digits.target).long())
    rows = split_rows(everything.labels, SplitConfig(validation=0.15, test=0.2, seed=0), validation=True, test=True)
    drawings = [everything.take(part) for part in rows]
    for number in range(count):
        group = GROUPS[number % 2]
        way = WAYS[(number // 2 + number % 2 * len(WAYS) // 2) % len(WAYS)]
        view = _view(way)
        data = TaskData(*(_task_split(part, group, view) for part in drawings))
        yield NamedTask(f"digits-{group[0]}-{group[-1]}-{way}", tuple(map(str, group)), data)


def _view(way: str) -> Callable[[Tensor], Tensor]:
    """(N, 1, 8, 8) -> the same pictures rotated or with their pixels permuted."""
    kind, amount = way.rstrip("0123456789"), int(way.lstrip("rotpem"))
    if kind == "rot":
        return lambda pictures: pictures.rot90(amount // 90, dims=(2, 3)).contiguous()
    order = permutation(64, amount)
    return lambda pictures: pictures.flatten(1)[:, order].reshape(pictures.shape)


def _task_split(drawings: Split, group: tuple[int, ...], view: Callable[[Tensor], Tensor]) -> Split:
    """The drawings of these digits, relabelled from 0."""
    chosen = drawings.take(torch.isin(drawings.labels, torch.tensor(group)).nonzero().flatten())
    return Split(view(chosen.inputs), chosen.labels - group[0])
