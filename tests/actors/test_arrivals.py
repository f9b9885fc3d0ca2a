"""`run`: which task is trained on which version, and that nothing else decides the outcome."""

from dataclasses import replace
from pathlib import Path

import pytest
from prefect.exceptions import ParameterTypeError

from apd.config import ConsolidationConfig, NetworkConfig
from apd.errors import ApdError
from apd.store import Stream
from flows.run import run
from tests.actors import small
from tests.actors.conftest import learning, processes, wait_until

pytestmark = pytest.mark.usefixtures("nodes", "no_actor_left")


def with_arrivals(
    place: Path, count: int, consolidate_every: int = 100, network: NetworkConfig = small.NETWORK, **resources: object
) -> Stream:
    """A stream in whose inbox tasks lie."""
    configured = small.config(network, **({"max_parallel": 3} | resources))
    consolidation = ConsolidationConfig(consolidate_every=consolidate_every, max_accuracy_drop=1.0)
    stream = Stream.create(str(place), replace(configured, consolidation=consolidation))
    for number in range(count):
        small.submit(stream, number)
    return stream


def test_tasks_train_at_the_same_time_and_each_on_the_version_that_its_place_says(
    holding: Path, tmp_path: Path
) -> None:
    """The cluster has room for six such actors; each waits after its first epoch until all have come so far."""
    network = small.held_network(holding, 1)
    stream = with_arrivals(tmp_path / "stream", 5, network=network, num_cpus=0.5)
    small.accept_all(stream)
    small.learn_unheld(stream, "task-0", holding)
    with learning(stream):
        wait_until(lambda: all(small.epochs_saved(stream, f"task-{number}") == 1 for number in (1, 2, 3)))
        assert len(processes("Trainer")) == 3
        holding.rmdir()
    entries = stream.head().entries
    assert [entry.name for entry in entries] == [f"task-{number}" for number in range(5)]
    assert [entry.learned_in for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry.based_on for entry in entries] == [0, 1, 1, 1, 2]
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
    assert [entry.based_on for entry in stream.head().entries] == [0, 1]  # the first trains alone
    assert [one.task for one in stream.inbox.waiting()] == ["task-1"]


def test_no_task_at_a_time_is_refused(tmp_path: Path) -> None:
    stream = with_arrivals(tmp_path / "stream", 0)
    with pytest.raises(ParameterTypeError, match="max_parallel: Input should be greater than or equal to 1"):
        run(stream.url, max_parallel=0)
