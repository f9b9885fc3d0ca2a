"""`run`: which task is trained on which version, and that nothing else decides the outcome."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from prefect.exceptions import ParameterTypeError

from apd.config import ConsolidationConfig
from apd.errors import ApdError
from apd.store import Stream
from flows.run import run
from tests.actors import small
from tests.actors.conftest import alive

pytestmark = pytest.mark.usefixtures("nodes", "no_actor_left")


@contextmanager
def most_trainers_at_once() -> Iterator[list[int]]:
    """What is yielded holds, when the block has ended, the largest number of trainers there were at a time."""
    found, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(0.1):
            running = [process for process, kind in alive() if kind == "Trainer" and process]
            found[0] = max(found[0], len(running))

    watching = threading.Thread(target=look)
    watching.start()
    try:
        yield found
    finally:
        ended.set()
        watching.join()


def with_arrivals(place: Path, count: int, consolidate_every: int = 100) -> Stream:
    """A stream in whose inbox tasks lie."""
    configured = small.config(small.slow_network(0.05), max_parallel=3)
    consolidation = ConsolidationConfig(consolidate_every=consolidate_every, max_accuracy_drop=1.0)
    stream = Stream.create(str(place), replace(configured, consolidation=consolidation))
    for number in range(count):
        small.submit(stream, number)
    return stream


def test_tasks_train_at_the_same_time_and_each_on_the_version_that_its_place_says(tmp_path: Path) -> None:
    stream = with_arrivals(tmp_path / "stream", 5)
    with most_trainers_at_once() as most:
        learned = run(stream.url, publish=False)
    entries = stream.head().entries
    assert learned == [entry.name for entry in entries] == [f"task-{number}" for number in range(5)]
    assert [entry.learned_in for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry.based_on for entry in entries] == [0, 1, 1, 1, 2]
    assert most[0] == 3
    assert small.bits(stream) == small.undisturbed_bits(stream)


def test_one_at_a_time_is_the_strict_sequence_with_consolidations_in_it(tmp_path: Path) -> None:
    stream = with_arrivals(tmp_path / "stream", 3, consolidate_every=2)
    run(stream.url, publish=False, max_parallel=1)
    assert [version.kind for version in stream.log(newest_first=False)] == [
        "create",
        "learn",
        "learn",
        "consolidate",
        "learn",
    ]
    assert [entry.based_on for entry in stream.head().entries] == [0, 1, 3]


def test_a_task_that_cannot_be_learned_waits_and_holds_up_no_other(tmp_path: Path) -> None:
    stream = with_arrivals(tmp_path / "stream", 3)
    small.accept_all(stream)
    (tmp_path / "stream" / "tasks" / "task-1" / "train.parquet").write_bytes(b"damaged")
    with pytest.raises(ApdError, match="not learned, still waiting: task-1"):
        run(stream.url, publish=False)
    assert [entry.name for entry in stream.head().entries] == ["task-0", "task-2"]
    assert [one.task for one in stream.inbox.waiting()] == ["task-1"]


def test_no_task_at_a_time_is_refused(tmp_path: Path) -> None:
    stream = with_arrivals(tmp_path / "stream", 0)
    with pytest.raises(ParameterTypeError, match="max_parallel: Input should be greater than or equal to 1"):
        run(stream.url, max_parallel=0)
