"""Whatever dies while tasks are learned: each is learned exactly once in the end, to the bits of an undisturbed run."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from apd.store import Stream
from apd.store.failures import Failures
from flows.run import run
from tests.actors import small
from tests.actors.conftest import (
    WITHOUT_MEMORY,
    Nodes,
    alive,
    kill_process,
    killed_for_memory,
    learning,
    processes,
    processes_of,
    wait_until,
)
from tests.actors.gate import Gate
from tests.conftest import ROOT, S3Server

pytestmark = pytest.mark.usefixtures("nodes", "no_actor_left")

HELD = 2
"""Epochs after which everything that trains is held, while it may be disturbed."""


def waiting_stream(url: str, holding: Path, count: int, **resources: object) -> Stream:
    """A stream for which tasks wait."""
    stream = Stream.create(url, small.config(small.held_network(holding, HELD), **resources))
    for number in range(count):
        small.accept(stream, number)
    return stream


def are_held(stream: Stream, *tasks: str) -> bool:
    """Whether the training of each of these tasks has come as far as it may, and waits there."""
    return all(small.epochs_saved(stream, task) == HELD for task in tasks)


def assert_learned_once(url: str, count: int) -> None:
    """Every task in one version, no attempt left, all bits as they would be without any disturbance."""
    stream = Stream.open(url)
    names = [f"task-{number}" for number in range(count)]
    assert [version.kind for version in stream.log(newest_first=False)] == ["create", *["learn"] * count]
    assert [entry.name for entry in stream.head().entries] == names
    assert [stream.load_attempt(name) for name in names] == [None] * count
    assert small.bits(stream) == small.undisturbed_bits(stream)


def test_trainers_that_are_killed_within_an_epoch(holding: Path, tmp_path: Path) -> None:
    stream = waiting_stream(str(tmp_path / "stream"), holding, 3, max_parallel=2)
    small.learn_unheld(stream, "task-0", holding)
    with learning(stream):
        wait_until(lambda: are_held(stream, "task-1", "task-2"))
        found = processes("Trainer")
        assert len(found) == 2
        for process in found:
            kill_process(process)
        holding.rmdir()
    assert_learned_once(stream.url, 3)
    assert [entry.based_on for entry in stream.head().entries] == [0, 1, 1]


def test_a_node_that_dies_with_its_trainer_and_comes_back(nodes: Nodes, holding: Path, tmp_path: Path) -> None:
    stream = waiting_stream(str(tmp_path / "stream"), holding, 1, custom={"place": 1})
    first = nodes.add(place=1)
    with learning(stream):
        wait_until(lambda: are_held(stream, "task-0"))
        nodes.kill(first)
        holding.rmdir()
        nodes.add(place=1)
    assert_learned_once(stream.url, 1)


def test_a_node_without_memory_whose_trainers_ray_kills(nodes: Nodes, holding: Path, tmp_path: Path) -> None:
    stream = waiting_stream(str(tmp_path / "stream"), holding, 1, custom={"room": 1})
    starved, before = nodes.add(room=1, environment=WITHOUT_MEMORY), killed_for_memory()
    holding.rmdir()
    with learning(stream):
        wait_until(lambda: killed_for_memory() > before)
        nodes.end(starved)
        nodes.add(room=1)
    assert_learned_once(stream.url, 1)


def test_a_store_that_cannot_be_reached_until_an_actor_gave_up(
    gate: Gate, moto_server: S3Server, holding: Path
) -> None:
    stream = waiting_stream(f"{moto_server.bucket()}/stream", holding, 1)
    with learning(stream):
        wait_until(lambda: are_held(stream, "task-0"))
        gate.shut()
        holding.rmdir()
        wait_until(lambda: not alive())
        gate.open()
    assert_learned_once(stream.url, 1)


RUN = "import sys; from flows.run import run; run(sys.argv[1], publish=False)"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the drivers' Prefect keeps what it makes at its first start."""
    return tmp_path_factory.mktemp("prefect")


@contextlib.contextmanager
def driver(stream: Stream, home: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """`run` in a process and a session of its own; nothing of that session is left when the block ends."""
    with (home / "log").open("wb") as log:
        started = subprocess.Popen(
            [sys.executable, "-c", RUN, stream.url],
            env=os.environ | {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(home)} | environment,
            start_new_session=True,
            stdout=log,
            stderr=log,
        )
    try:
        yield started
    finally:
        for process in processes_of(started.pid):
            kill_process(process)
        started.wait()


def process_named(name: str, session: int) -> int:
    """The one process of this name in the session."""
    (found,) = [process for process, its_name in processes_of(session).items() if its_name == name]
    return found


def wait_for_the_end_of_trainers(session: int) -> None:
    """Return when no actor of the session's Ray is at work any more."""
    wait_until(lambda: "ray::Trainer.le" not in processes_of(session).values())


def test_a_driver_that_is_killed_takes_its_actors_along_and_the_next_goes_on(
    nodes: Nodes, home: Path, holding: Path, tmp_path: Path
) -> None:
    stream = waiting_stream(str(tmp_path / "stream"), holding, 2)
    small.learn_unheld(stream, "task-0", holding)
    with driver(stream, home, RAY_ADDRESS=nodes.address) as started:
        wait_until(lambda: are_held(stream, "task-1"))
        started.kill()
        wait_until(lambda: not alive())
    holding.rmdir()
    run(stream.url, publish=False)
    assert_learned_once(stream.url, 2)


def test_a_cluster_whose_head_dies_ends_the_run_and_another_cluster_goes_on(
    home: Path, holding: Path, tmp_path: Path
) -> None:
    stream = waiting_stream(str(tmp_path / "stream"), holding, 1)
    with driver(stream, home) as started:
        wait_until(lambda: are_held(stream, "task-0"))
        kill_process(process_named("gcs_server", started.pid))
        assert started.wait(timeout=120) != 0
        wait_for_the_end_of_trainers(started.pid)
    assert "Failed to connect to GCS within 5 seconds" in (home / "log").read_text()  # Ray's own patience is a minute
    holding.rmdir()
    run(stream.url, publish=False)
    assert_learned_once(stream.url, 1)


@contextlib.contextmanager
def restarted_head(session: int) -> Iterator[None]:
    """Kill the head of the session's Ray and start one anew at the same address, for the time of the block."""
    address = next(word for word in command(process_named("raylet", session)) if word.startswith("--gcs-address="))
    old, port = process_named("gcs_server", session), address.rpartition(":")[2]
    words = [f"--gcs_server_port={port}" if "gcs_server_port" in word else word for word in command(old)]
    kill_process(old)
    again = 'while :; do "$@"; sleep 0.1; done'  # until nobody's outgoing connection has the port
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(["sh", "-c", again, "head", *words], **quiet) as heads:
        try:
            yield
        finally:
            os.killpg(heads.pid, signal.SIGKILL)


def command(process: int) -> list[str]:
    """What the process was started with."""
    return Path(f"/proc/{process}/cmdline").read_text().rstrip("\0").split("\0")


def test_a_head_that_is_restarted_ends_the_run_with_the_reason_and_the_next_goes_on(
    home: Path, holding: Path, tmp_path: Path
) -> None:
    """What trains at that moment is learned still; a new actor cannot be had from a head that knows nobody."""
    stream = waiting_stream(str(tmp_path / "stream"), holding, 2)
    with driver(stream, home, RAY_gcs_rpc_server_reconnect_timeout_s="60") as started:
        wait_until(lambda: are_held(stream, "task-0"))
        with restarted_head(started.pid):
            holding.rmdir()
            assert started.wait(timeout=120) == 1
            wait_for_the_end_of_trainers(started.pid)
    assert "the Ray head was restarted" in (home / "log").read_text()
    assert Failures(stream.objects).of("task-1") == []  # it is none of the task's
    run(stream.url, publish=False)
    assert_learned_once(stream.url, 2)
