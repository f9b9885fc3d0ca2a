"""What a task knows of those that train at the same time."""

from pathlib import Path

import pytest
import torch

from apd.actors import Trainer
from apd.actors.workers import beside
from apd.state import FIRST, Arrival
from apd.store import Candidate, Stream
from tests.actors import small


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    """The first of four tasks is learned."""
    made = Stream.create(str(tmp_path / "stream"), small.config())
    for number in range(4):
        small.accept(made, number)
    small.learn_here(made, "task-0")
    return made


def step_nnz(stream: Stream, name: str, base: int) -> int:
    """Elements in which a task's training moves sigma."""
    *_, candidate = Trainer(stream.url).learn(name, base)
    assert isinstance(candidate, Candidate)
    return stream.sparse_nnz(candidate.step)


def test_those_ahead_that_are_in_no_version_are_counted(stream: Stream) -> None:
    first = stream.head()
    assert [stream.tasks_ahead(f"task-{number}", first) for number in range(4)] == [0, 0, 1, 2]
    small.learn_here(stream, "task-2")
    assert [stream.tasks_ahead(f"task-{number}", stream.head()) for number in range(4)] == [0, 0, 1, 1]
    assert [stream.tasks_ahead(f"task-{number}", first) for number in range(4)] == [0, 0, 1, 2]


def test_sigma_stays_where_a_task_beside_would_have_to_pay_for_its_step(stream: Stream) -> None:
    assert step_nnz(stream, "task-1", 1) > 0
    assert step_nnz(stream, "task-2", 1) == 0


def test_siblings_count_as_earlier_tasks_with_masks_as_they_start() -> None:
    arrival = Arrival({"w": torch.zeros(2, 2)}, {"w": torch.tensor([0.5, 1.0])}, earlier=1)
    found = beside(arrival, 2, mask_start=0.0)
    assert found.earlier == 3
    torch.testing.assert_close(found.pull["w"], torch.tensor([1.5, 2.0]))
    assert beside(arrival, 0, mask_start=0.0) is arrival
    assert beside(FIRST, 3, mask_start=0.0) is FIRST
