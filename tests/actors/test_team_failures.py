"""Whatever a team loses while it learns a task: learned once in the end, with the bits of an undisturbed team."""

from pathlib import Path

import pytest
from ray.util import placement_group_table

from apd.store import Stream
from tests.actors import small
from tests.actors.conftest import (
    WITHOUT_MEMORY,
    Nodes,
    kill_process,
    killed_for_memory,
    learning,
    processes,
    wait_until,
)
from tests.teammates import together

pytestmark = pytest.mark.usefixtures("nodes", "no_actor_left")


def waiting_stream(place: Path, holding: Path, **custom: float) -> Stream:
    """A stream in which one task waits for a team of two; every team is held after two epochs."""
    stream = Stream.create(str(place), small.config(small.held_network(holding, 2), workers=2, custom=custom))
    small.accept(stream, 0)
    return stream


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a team makes of the task that nothing disturbs."""
    place = tmp_path_factory.mktemp("undisturbed")
    stream = Stream.create(str(place / "stream"), small.config(small.slow_network(0.0)))
    together(small.learn_in_team, 2, place / "team", stream.url, small.accept(stream, 0))
    return small.bits(stream)


def assert_learned_once(stream: Stream, expected: dict[str, str]) -> None:
    """One version, these bits, and nothing of any team left."""
    assert [version.kind for version in stream.log(newest_first=False)] == ["create", "learn"]
    assert small.bits(stream) == expected
    assert stream.load_attempt("task-0") is None
    wait_until(lambda: {group["state"] for group in placement_group_table().values()} == {"REMOVED"})


def has_saved(stream: Stream, epoch: int) -> bool:
    """Whether the team has saved its attempt after so many epochs."""
    return small.epochs_saved(stream, "task-0") >= epoch


def test_a_worker_and_then_a_coordinator_that_are_killed_within_an_epoch(
    undisturbed: dict[str, str], holding: Path, tmp_path: Path
) -> None:
    stream = waiting_stream(tmp_path / "stream", holding)
    with learning(stream):
        wait_until(lambda: has_saved(stream, 2))
        kill_process(max(processes("RayTrainWorker")))
        wait_until(lambda: has_saved(stream, 4))
        (coordinator,) = processes("Coordinator")
        kill_process(coordinator)
        holding.rmdir()
    assert_learned_once(stream, undisturbed)


def test_a_node_without_memory_and_then_a_node_that_dies_within_an_epoch(
    nodes: Nodes, undisturbed: dict[str, str], holding: Path, tmp_path: Path
) -> None:
    """Each of the two workers needs a node with a berth, so that every loss is one that the next team has to await."""
    stream = waiting_stream(tmp_path / "stream", holding, berth=1)
    nodes.add(berth=1)
    starved, before = nodes.add(berth=1, environment=WITHOUT_MEMORY), killed_for_memory()
    with learning(stream):
        wait_until(lambda: killed_for_memory() > before)
        nodes.end(starved)
        doomed = nodes.add(berth=1)
        wait_until(lambda: has_saved(stream, 2))
        nodes.kill(doomed)
        holding.rmdir()
        nodes.add(berth=1)
    assert_learned_once(stream, undisturbed)
