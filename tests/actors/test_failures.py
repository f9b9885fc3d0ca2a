"""Whatever dies while tasks are learned: each is learned exactly once in the end, to the bits of an undisturbed run."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from apd.store import Stream
from flows.run import run
from tests.actors import small
from tests.actors.conftest import Nodes, alive, ended, kill_process, learning, processes_of, wait_until
from tests.actors.gate import Gate
from tests.conftest import ROOT, S3Server

pytestmark = pytest.mark.usefixtures("nodes", "no_actor_left")

STEP = 0.2
"""Seconds that a training step takes while it may be disturbed; an epoch has three."""


def waiting_stream(url: str, count: int, **resources: object) -> Stream:
    """A stream for which tasks wait."""
    stream = Stream.create(url, small.config(small.slow_network(STEP), **resources))
    for number in range(count):
        small.accept(stream, number)
    return stream


def has_attempts(stream: Stream, *tasks: str, epoch: int = 2) -> bool:
    """Whether the training of each of these tasks has been saved after so many epochs, and goes on."""
    found = [stream.load_attempt(task) for task in tasks]
    return all(attempt is not None and attempt.values["epoch"] >= epoch for attempt in found)


def assert_learned_once(url: str, count: int) -> None:
    """Every task in one version, no attempt left, all bits as they would be without any disturbance."""
    stream = Stream.open(url)
    names = [f"task-{number}" for number in range(count)]
    assert [version.kind for version in stream.log(newest_first=False)] == ["create", *["learn"] * count]
    assert [entry.name for entry in stream.head().entries] == names
    assert [stream.load_attempt(name) for name in names] == [None] * count
    assert small.bits(stream) == small.undisturbed_bits(stream)


def test_trainers_that_are_killed_within_an_epoch(tmp_path: Path) -> None:
    stream = waiting_stream(str(tmp_path / "stream"), 3, max_parallel=2)
    with learning(stream):
        wait_until(lambda: has_attempts(stream, "task-1", "task-2"))
        for process, _ in alive():
            kill_process(process)
    assert_learned_once(stream.url, 3)
    assert [entry.based_on for entry in stream.head().entries] == [0, 1, 1]


def test_a_node_that_dies_with_its_trainer_and_comes_back(nodes: Nodes, tmp_path: Path) -> None:
    stream = waiting_stream(str(tmp_path / "stream"), 1, custom={"place": 1})
    first = nodes.add(place=1)
    with learning(stream):
        wait_until(lambda: has_attempts(stream, "task-0"))
        nodes.kill(first)
        nodes.add(place=1)
    assert_learned_once(stream.url, 1)


def test_a_node_without_memory_whose_trainers_ray_kills(nodes: Nodes, tmp_path: Path) -> None:
    """Ray ends the actors of a node that uses more of its memory than it may: here, more than a thousandth."""
    stream = waiting_stream(str(tmp_path / "stream"), 1, custom={"room": 1})
    starved = nodes.add(room=1, environment={"RAY_memory_usage_threshold": "0.001"})
    before = ended()
    with learning(stream):
        wait_until(lambda: ended() > before)
        nodes.kill(starved)
        nodes.add(room=1)
    assert_learned_once(stream.url, 1)


def test_a_store_that_cannot_be_reached_until_an_actor_gave_up(gate: Gate, moto_server: S3Server) -> None:
    stream = waiting_stream(f"{moto_server.bucket()}/stream", 1)
    with learning(stream):
        wait_until(lambda: has_attempts(stream, "task-0"))
        gate.shut()
        wait_until(lambda: not alive())
        gate.open()
    assert_learned_once(stream.url, 1)


@contextlib.contextmanager
def driver(stream: Stream, home: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """`run` in a process and a session of its own; nothing of that session is left when the block ends."""
    started = subprocess.Popen(
        [sys.executable, "-c", "import sys; from flows.run import run; run(sys.argv[1], publish=False)", stream.url],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(home)} | environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield started
    finally:
        for process in processes_of(started.pid):
            kill_process(process)
        started.wait()


def test_a_driver_that_is_killed_takes_its_actors_along_and_the_next_goes_on(nodes: Nodes, tmp_path: Path) -> None:
    stream = waiting_stream(str(tmp_path / "stream"), 2)
    with driver(stream, tmp_path / "prefect", RAY_ADDRESS=nodes.address) as started:
        wait_until(lambda: has_attempts(stream, "task-1"), 150)
        started.kill()
        wait_until(lambda: not alive())
    run(stream.url, publish=False)
    assert_learned_once(stream.url, 2)


def test_a_cluster_whose_head_dies_ends_the_run_and_another_cluster_goes_on(tmp_path: Path) -> None:
    stream = waiting_stream(str(tmp_path / "stream"), 1)
    with driver(stream, tmp_path / "prefect", RAY_gcs_rpc_server_reconnect_timeout_s="3") as started:
        wait_until(lambda: has_attempts(stream, "task-0"), 150)
        (head,) = [process for process, name in processes_of(started.pid).items() if name == "gcs_server"]
        kill_process(head)
        assert started.wait(timeout=60) != 0
        wait_until(lambda: "ray::Trainer.le" not in processes_of(started.pid).values())
    run(stream.url, publish=False)
    assert_learned_once(stream.url, 1)
