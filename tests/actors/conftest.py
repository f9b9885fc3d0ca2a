"""A real Ray of several nodes on this machine, whose nodes a test may kill."""

import contextlib
import gc
import os
import signal
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._common.utils import reset_ray_address
from ray._private import state
from ray.cluster_utils import Cluster

from apd.store import Stream
from flows import console
from tests.actors.gate import Gate
from tests.conftest import S3Server

os.environ.update(console.ENVIRONMENT)  # before a test module imports Prefect, which reads it once
os.environ.update(  # read once by this process and all nodes
    {
        "RAY_metrics_report_interval_ms": "500",  # 10 s otherwise
        "RAY_health_check_period_ms": "500",  # 3 s; a node whose address nobody listens at is dead after five of them
    }
)

LIMITS = {"memory": 2**30, "object_store_memory": 80 * 2**20, "include_dashboard": False}
"""Per node; each would claim the whole machine otherwise."""


WITHOUT_MEMORY = {"RAY_memory_usage_threshold": "0.001"}
"""Environment of a node on which Ray ends actors: those of a node that uses more than this share of its memory."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Nodes:
    """A head with two CPUs, a node with one and a logical GPU, and those that a test adds; each has its own address."""

    def __init__(self) -> None:
        self._cluster, self._number, self._added = Cluster(), 2, list[Any]()
        self._start(num_cpus=2, dashboard_port=free_port())  # where it is another Ray's, sockets are left behind
        reset_ray_address()  # other programs on this machine must not take it for theirs
        self._start(num_cpus=1, num_gpus=1)

    @property
    def address(self) -> str:
        """For `ray.init`."""
        return str(self._cluster.address)

    def add(self, environment: Mapping[str, str] | None = None, **custom: float) -> Any:
        """One more node of one CPU, with these resources, until the end of the test; returns when it is there."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (environment or {}).items():
                patch.setenv(name, value)
            node = self._start(num_cpus=1, resources=custom)
        self._added.append(node)
        return node

    def _start(self, **settings: Any) -> Any:
        address = f"127.0.0.{self._number}"
        self._number += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # Ray looks for free ports and leaves sockets behind
            node = self._cluster.add_node(node_ip_address=address, **settings, **LIMITS)
            gc.collect()
        return node

    def end(self, node: Any) -> None:
        """End a node in order."""
        self._remove(node, in_order=True)

    def kill(self, node: Any) -> None:
        """End all processes of a node at once, as a power cut would; returns when the head has noticed."""
        self._remove(node, in_order=False)

    def remove_added(self) -> None:
        """End what tests have added, so that no other test finds it."""
        for node in list(self._added):
            self.end(node)

    def _remove(self, node: Any, in_order: bool) -> None:
        self._added.remove(node)
        self._cluster.remove_node(node, allow_graceful=in_order)
        wait_until(lambda: not any(one["Alive"] and one["NodeID"] == node.node_id for one in ray.nodes()))

    def stop(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()


@pytest.fixture(scope="session")
def gate(moto_server: S3Server) -> Iterator[Gate]:
    """On the way to the S3 server, which this process and all nodes reach through it alone."""
    with Gate(moto_server.endpoint) as made, pytest.MonkeyPatch.context() as patch:
        for name, value in (moto_server.environment | {"AWS_ENDPOINT_URL": made.endpoint}).items():
            patch.setenv(name, value)
        yield made


@pytest.fixture(scope="session")
def started(gate: Gate) -> Iterator[Nodes]:
    """The head and a node with a logical GPU."""
    made = Nodes()
    yield made
    ray.shutdown()
    made.stop()


@pytest.fixture
def nodes(started: Nodes) -> Iterator[Nodes]:
    """The same, this process connected."""
    if not ray.is_initialized():
        ray.init(address=started.address, log_to_driver=False, configure_logging=False)
    yield started
    started.remove_added()


def alive() -> list[tuple[int, str]]:
    """Process ids and classes of the actors there are; a process that is not there yet is 0."""
    return [(one["Pid"], one["ActorClassName"]) for one in state.actors().values() if one["State"] != "DEAD"]


def processes(kind: str) -> set[int]:
    """Ids of the processes of the actors of this kind."""
    return {process for process, found in alive() if found == kind and process}


def begun() -> int:
    """How many actors there have been; one counts from its creation on, its end is noticed later."""
    return len(state.actors())


def killed_for_memory() -> int:
    """How many actors Ray has ended because their node had no memory left."""
    ended = (one["DeathCause"] for one in state.actors().values() if one["State"] == "DEAD")
    return sum(cause.HasField("oom_context") for cause in ended)


def wait_until(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    """Return as soon as the condition holds; fail when it does not within the time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            pytest.fail(f"still not so after {seconds:g} s")
        time.sleep(0.05)


@pytest.fixture
def no_actor_left(nodes: Nodes) -> Iterator[None]:
    """Fail unless every actor is gone soon after the test."""
    yield
    wait_until(lambda: not alive())


@pytest.fixture
def holding(tmp_path: Path) -> Path:
    """For `small.held_network`: a folder; what is held goes on when the test removes it."""
    folder = tmp_path / "holding"
    folder.mkdir()
    return folder


PATIENCE = [0.5, 2.0, 10.0, 30.0]
"""Seconds before each new try at a task: what was lost is back sooner than in a cluster, but not on a busy machine."""


@contextlib.contextmanager
def learning(stream: Stream) -> Iterator[None]:
    """`run` beside the block; its end, and its error if there is one, come after the block's."""
    from flows import steps  # imports Prefect, which reads its environment then
    from flows.run import run

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(steps.train, "retry_delay_seconds", PATIENCE)
        running = pool.submit(run, stream.url, publish=False)
        yield
        running.result()


def kill_process(number: int) -> None:
    """End a process at once."""
    os.kill(number, signal.SIGKILL)


def processes_of(session: int) -> dict[int, str]:
    """Names of the processes of a session, by id; those that have ended and wait for their parent are left out."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            number, rest = file.read_text().split(" (", 1)
            name, fields = rest.rsplit(") ", 1)
            status, _, _, its_session, *_ = fields.split()
            if int(its_session) == session and status != "Z":
                found[int(number)] = name
    return found
