"""One actor for each piece of work, on a real Ray."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
import ray
import torch

from apd.actors import Trainer, companion, crew, events, first_done
from apd.actors.versions import versions
from apd.config import ResourceConfig
from apd.errors import ClusterError, NoNode, TaskRejected, Unreachable, WorkerLost
from apd.store import Candidate, Stream
from apd.training import Progress
from tests.actors import small
from tests.actors.conftest import Nodes, alive, kill_process, wait_until
from tests.actors.troubled import Troubled
from tests.conftest import S3Server

pytestmark = pytest.mark.usefixtures("nodes", "no_actor_left")
PLAIN = ResourceConfig()


def test_what_is_yielded_arrives_in_order_and_an_error_of_ours_as_itself() -> None:
    work = events(Troubled, "count_and_reject", "anywhere", 5, resources=PLAIN)
    assert [next(work) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(TaskRejected, match=r"^shoes: no good$"):
        next(work)


def test_a_defect_comes_back_with_its_own_type() -> None:
    with pytest.raises(ZeroDivisionError, match="our own defect"):
        list(events(Troubled, "break_down", "anywhere", resources=PLAIN))


def test_an_actor_that_dies_is_lost() -> None:
    with pytest.raises(WorkerLost, match="lost before its work was finished"):
        list(events(Troubled, "die", "anywhere", resources=PLAIN))


def test_an_actor_without_memory_is_lost_with_advice() -> None:
    with pytest.raises(WorkerLost, match=r"out of memory .* give it more"):
        list(events(Troubled, "run_out_of_memory", "anywhere", resources=PLAIN))


def test_closing_the_iterator_ends_the_actor() -> None:
    with contextlib.closing(events(Troubled, "stay", "anywhere", resources=PLAIN)) as work:
        process = next(work)
        assert (process, "Troubled") in alive()
    wait_until(lambda: not Path(f"/proc/{process}").exists())


class Ended(BaseException):
    """As Prefect and the command raise where SIGTERM comes."""


def end_now(*_: object) -> None:
    raise Ended


@pytest.fixture
def signalled() -> Iterator[threading.Timer]:
    """A signal that comes two seconds after this is started."""
    before = signal.signal(signal.SIGUSR1, end_now)
    yield threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGUSR1))
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_ends_the_wait_for_an_actor(signalled: threading.Timer) -> None:
    """In the main thread, where flows wait when they are cancelled."""
    with crew(Troubled, "anywhere", PLAIN, most=1) as work:
        signalled.start()
        with pytest.raises(Ended):
            work.one("end", 60.0)


def test_a_signal_ends_the_wait_for_room(signalled: threading.Timer, nodes: Nodes) -> None:
    nodes.add(narrow=1)
    wanted = ResourceConfig(custom={"narrow": 1})
    with crew(Troubled, "anywhere", wanted, most=1):
        signalled.start()
        with pytest.raises(Ended), crew(Troubled, "anywhere", wanted, most=1):
            pytest.fail("there was no room")
        wait_until(lambda: len(alive()) == 1)


def test_an_actor_that_no_node_has_room_for_is_refused() -> None:
    wanted = ResourceConfig(num_cpus=1, num_gpus=2, custom={"tape": 1})
    with pytest.raises(NoNode, match=r"asks for CPU 1, GPU 2, tape 1 but no Ray node has that; .* CPU 1, GPU 1"):
        next(events(Troubled, "count_and_reject", "anywhere", 1, resources=wanted))


def test_more_memory_than_any_node_has_is_refused() -> None:
    with pytest.raises(NoNode, match=r"asks for CPU 1, memory 2.14748e\+09 but no Ray node has that"):
        next(events(Troubled, "count_and_reject", "anywhere", 1, resources=ResourceConfig(memory=2**31)))


def test_a_node_that_runs_another_version_is_refused_by_its_actor(monkeypatch: pytest.MonkeyPatch) -> None:
    there = socket.gethostname()
    monkeypatch.setattr(socket, "gethostname", lambda: "driver")  # the versions of one machine are not compared
    monkeypatch.setattr("apd.actors.work.versions", lambda: replace(versions(), torch="0.0"))
    with pytest.raises(ClusterError, match=rf"node {there} runs torch .* but the flow on driver runs torch 0.0"):
        next(events(Troubled, "count_and_reject", "anywhere", 1, resources=PLAIN))


def test_a_store_that_a_node_cannot_reach_is_an_error_with_its_name(nodes: Nodes, moto_server: S3Server) -> None:
    stream = Stream.create(f"{moto_server.bucket()}/stream", small.config(custom={"far": 1}))
    name = small.accept(stream, 0)
    nodes.add(far=1, environment={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    with pytest.raises(Unreachable, match=rf"^node {socket.gethostname()}: "):
        next(events(Trainer, "learn", stream.url, name, 0, resources=stream.config.resources))


@pytest.mark.skipif(
    torch.cuda.is_available(), reason="the node's GPU is one that torch cannot use only where it has none"
)
def test_a_gpu_that_torch_cannot_use_is_an_error_with_advice(tmp_path: Path) -> None:
    stream = Stream.create(str(tmp_path / "stream"), small.config(num_gpus=1))
    name = small.accept(stream, 0)
    with pytest.raises(ClusterError, match=r"gave this actor a GPU that torch .* cannot use; install the CUDA build"):
        next(events(Trainer, "learn", stream.url, name, 0, resources=stream.config.resources))


def test_a_companion_works_in_order_and_has_finished_when_the_block_ends(tmp_path: Path) -> None:
    with companion(Troubled, "note", str(tmp_path / "notes")) as note:
        for name in "abc":
            note(name)
    assert (tmp_path / "notes").read_text() == "a\nb\nc\n"


def test_a_companion_takes_no_cpu_from_the_main_work(nodes: Nodes, tmp_path: Path) -> None:
    """On a cluster of one CPU the main work would wait for it for ever."""
    asked = ResourceConfig(num_cpus=1, custom={"alone": 1})
    nodes.add(alone=1)
    with companion(Troubled, "note", str(tmp_path / "notes")) as note:
        note("a")
        held = ray.cluster_resources()["CPU"] - ray.available_resources()["CPU"]
        assert 0 < held < 0.1
        with crew(Troubled, "anywhere", asked, most=1) as work:
            assert not any(work.each("has_gpu", [0]))


def test_what_a_companion_could_not_do_is_an_error_at_the_end(tmp_path: Path) -> None:
    def hand_over() -> None:
        with companion(Troubled, "note", str(tmp_path / "notes")) as note:
            note("bad")
            note("good")

    with pytest.raises(TaskRejected, match="bad: no good"):
        hand_over()


def test_an_actor_killed_within_an_epoch_is_followed_by_one_that_goes_on(holding: Path, tmp_path: Path) -> None:
    """With the same final bits as a training that nothing disturbed."""
    stream = Stream.create(str(tmp_path / "stream"), small.config(small.held_network(holding, 2)))
    name = small.accept(stream, 0)

    disturbed = events(Trainer, "learn", stream.url, name, 0, resources=PLAIN)
    next(disturbed)
    wait_until(lambda: small.epochs_saved(stream, name) == 2)
    ((process, _),) = alive()
    kill_process(process)
    holding.rmdir()
    with pytest.raises(WorkerLost):
        list(disturbed)
    first, *_, candidate = events(Trainer, "learn", stream.url, name, 0, resources=PLAIN)
    assert isinstance(first, Progress)
    assert first.epoch > 2
    assert isinstance(candidate, Candidate)
    undisturbed = Stream.create(str(tmp_path / "undisturbed"), small.config(small.slow_network(0.0)))
    small.learn_here(undisturbed, small.accept(undisturbed, 0))
    assert candidate.entry.theta_key == small.bits(undisturbed)[name]


@pytest.mark.timeout(20)
def test_an_interrupt_that_another_thread_was_given_ends_a_wait() -> None:
    interrupt = threading.Timer(0.2, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        first_done([Future()])
    interrupt.join()
