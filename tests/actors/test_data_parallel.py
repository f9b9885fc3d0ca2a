"""One task on two workers of a real Ray Train, on two nodes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from ray.util import placement_group_table

from apd.actors import learning
from apd.config import ResourceConfig
from apd.decomposition import bare_state
from apd.errors import NoNode, TaskRejected
from apd.store import Candidate, Stream
from flows.run import run
from tests.actors import small
from tests.actors.conftest import Nodes, alive, kill_process, wait_until

pytestmark = pytest.mark.usefixtures("nodes", "no_actor_left")
PAIR = ResourceConfig(workers=2)


def workers() -> list[int]:
    """Processes of the workers there are."""
    return [process for process, kind in alive() if kind == "RayTrainWorker" and process]


def test_two_workers_learn_what_one_learns_and_tell_of_every_epoch(tmp_path: Path) -> None:
    """Parameters within 1e-5, and the same accuracies after every epoch."""
    stream = Stream.create(str(tmp_path / "stream"), small.config())
    name = small.accept(stream, 0)
    *alone, one = learning(stream.url, name, 0, ResourceConfig())
    stream.clear_attempt(name)
    *together, two = learning(stream.url, name, 0, PAIR)
    assert isinstance(one, Candidate)
    assert isinstance(two, Candidate)
    assert [event.epoch for event in together] == [event.epoch for event in alone]
    assert [event.validation_accuracy for event in together] == [event.validation_accuracy for event in alone]
    expected = bare_state(stream.load_entry(one.entry))
    for key, tensor in bare_state(stream.load_entry(two.entry)).items():
        torch.testing.assert_close(tensor, expected[key], rtol=1e-5, atol=1e-5)
    wait_until(lambda: {group["state"] for group in placement_group_table().values()} == {"REMOVED"})


def test_a_worker_that_is_killed_within_an_epoch(tmp_path: Path) -> None:
    """The flow tries again, from the attempt: learned once, with the bits of an undisturbed team."""
    streams = []
    for place, seconds in (("disturbed", 0.2), ("undisturbed", 0.0)):
        stream = Stream.create(str(tmp_path / place), small.config(small.slow_network(seconds), workers=2))
        small.accept(stream, 0)
        streams.append(stream)
    disturbed, undisturbed = streams
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, disturbed.url, publish=False)
        wait_until(lambda: small.epochs_saved(disturbed, "task-0") >= 2)
        found = workers()
        assert len(found) == 2
        kill_process(found[1])
        wait_until(lambda: len(workers()) == 2 and not set(found) & set(workers()))
        resumed_from = small.epochs_saved(disturbed, "task-0")
        assert running.result() == ["task-0"]
    run(undisturbed.url, publish=False)
    assert resumed_from >= 2
    assert [version.kind for version in disturbed.log(newest_first=False)] == ["create", "learn"]
    assert small.bits(disturbed) == small.bits(undisturbed)


def test_what_is_wrong_with_the_task_is_said_as_with_one_worker(tmp_path: Path) -> None:
    stream = Stream.create(str(tmp_path / "stream"), small.config())
    name = small.accept(stream, 0)
    (tmp_path / "stream" / "tasks" / name / "train.parquet").write_bytes(b"damaged")
    with pytest.raises(TaskRejected, match=r"train.parquet is not a readable Parquet file"):
        list(learning(stream.url, name, 0, PAIR))


def test_closing_the_iterator_ends_the_whole_team(tmp_path: Path) -> None:
    stream = Stream.create(str(tmp_path / "stream"), small.config(small.slow_network(0.5)))
    work = learning(stream.url, small.accept(stream, 0), 0, PAIR)
    next(work)
    found = workers()
    work.close()
    wait_until(lambda: not any(Path(f"/proc/{process}").exists() for process in found))


def test_a_team_that_the_nodes_have_no_room_for_is_refused(nodes: Nodes, tmp_path: Path) -> None:
    wanted = ResourceConfig(workers=3, num_gpus=1)
    with pytest.raises(
        NoNode, match=r"3 workers ask for CPU 1, GPU 1 each but the Ray nodes have room for 1; the nodes"
    ):
        next(learning(str(tmp_path), "shoes", 0, wanted))
