"""One task on two workers of a real Ray Train, on two nodes."""

import re
from pathlib import Path

import pytest
import torch
from ray.exceptions import ActorDiedError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.util import placement_group_table

from apd.actors import learning
from apd.actors.data_parallel import reason
from apd.config import ResourceConfig
from apd.decomposition import bare_state
from apd.errors import NoNode, TaskRejected, WorkerLost
from apd.store import Candidate, Stream
from tests.actors import small
from tests.actors.conftest import Nodes, processes, wait_until

pytestmark = pytest.mark.usefixtures("nodes", "no_actor_left")
PAIR = ResourceConfig(workers=2)


def test_two_workers_learn_what_one_learns_and_tell_of_every_epoch(tmp_path: Path) -> None:
    """Parameters within 1e-4, a hundredth of a step of Adam, and the same accuracies after every epoch."""
    stream = Stream.create(str(tmp_path / "stream"), small.config())
    name = small.accept(stream, 0)
    *alone, one = learning(stream.url, name, 0, ResourceConfig())
    stream.clear_attempt(name)
    *pair, two = learning(stream.url, name, 0, PAIR)
    assert isinstance(one, Candidate)
    assert isinstance(two, Candidate)
    assert [event.epoch for event in pair] == [event.epoch for event in alone]
    assert [event.validation_accuracy for event in pair] == [event.validation_accuracy for event in alone]
    expected = bare_state(stream.load_entry(one.entry))
    for key, tensor in bare_state(stream.load_entry(two.entry)).items():
        torch.testing.assert_close(tensor, expected[key], rtol=0.0, atol=1e-4)
    wait_until(lambda: {group["state"] for group in placement_group_table().values()} == {"REMOVED"})


MISSED = WorkerLost("a worker of the team is gone")
DIED = WorkerHealthCheckFailedError("worker 1", ActorDiedError())


@pytest.mark.parametrize(
    ("failures", "kind", "message"),
    [
        ({0: MISSED, 1: TaskRejected("shoes: no good")}, TaskRejected, "shoes: no good"),
        ({0: MISSED, 1: ZeroDivisionError("our own defect")}, ZeroDivisionError, "our own defect"),
        ({0: MISSED, 1: DIED}, WorkerLost, "worker 1 of the team was lost .* died"),
        ({0: MISSED}, WorkerLost, "worker 0 of the team was lost .* is gone"),
        ({0: MISSED, 1: MemoryError("1 TB")}, WorkerLost, r"ran out of memory \(1 TB\); give it more"),
    ],
)
def test_a_team_fails_with_the_reason_rather_than_with_what_the_others_missed(
    failures: dict[int, Exception], kind: type[Exception], message: str
) -> None:
    found = reason(failures)
    assert type(found) is kind
    assert re.search(message, str(found))


def test_closing_the_iterator_ends_the_whole_team(holding: Path, tmp_path: Path) -> None:
    stream = Stream.create(str(tmp_path / "stream"), small.config(small.held_network(holding, 1)))
    work = learning(stream.url, small.accept(stream, 0), 0, PAIR)
    next(work)
    found = processes("RayTrainWorker")
    assert len(found) == 2
    work.close()
    wait_until(lambda: not any(Path(f"/proc/{process}").exists() for process in found))


def test_a_team_that_the_nodes_have_no_room_for_is_refused(nodes: Nodes, tmp_path: Path) -> None:
    wanted = ResourceConfig(workers=3, num_gpus=1)
    with pytest.raises(
        NoNode, match=r"3 workers ask for CPU 1, GPU 1 each but the Ray nodes have room for 1; the nodes"
    ):
        next(learning(str(tmp_path), "shoes", 0, wanted))
