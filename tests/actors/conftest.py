"""A real Ray of several nodes on this machine, whose nodes a test may kill."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import ray
from ray._common.utils import reset_ray_address
from ray._private import state
from ray.cluster_utils import Cluster

from flows import console

os.environ.update(console.ENVIRONMENT)  # before a test module imports Prefect, which reads it once

LIMITS = {"memory": 2**30, "object_store_memory": 80 * 2**20, "include_dashboard": False}
"""Per node; each would claim the whole machine otherwise."""


class Nodes:
    """A head that holds the driver, and nodes with one logical GPU each, on addresses of their own."""

    def __init__(self) -> None:
        self._cluster = Cluster()
        self._cluster.add_node(num_cpus=2, node_ip_address="127.0.0.2", **LIMITS)
        reset_ray_address()  # other programs on this machine must not take it for theirs
        self._number = 3

    @property
    def address(self) -> str:
        """For `ray.init`."""
        return str(self._cluster.address)

    def add(self) -> Any:
        """One more node; returns when it is there."""
        node = self._cluster.add_node(
            num_cpus=1, num_gpus=1, node_ip_address=f"127.0.0.{self._number}", **LIMITS
        )  # fmt: skip
        self._number += 1
        return node

    def kill(self, node: Any) -> None:
        """End all processes of a node at once, as a power cut would."""
        self._cluster.remove_node(node, allow_graceful=False)

    def stop(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()


@pytest.fixture(scope="session")
def nodes() -> Iterator[Nodes]:
    """The head and one node with a GPU, this process connected; who kills the node adds another."""
    made = Nodes()
    made.add()
    ray.init(address=made.address, log_to_driver=False, configure_logging=False)
    yield made
    ray.shutdown()
    made.stop()


def alive() -> list[tuple[int, str]]:
    """Process ids and classes of the actors there are; a process that is not there yet is 0."""
    return [(one["Pid"], one["ActorClassName"]) for one in state.actors().values() if one["State"] != "DEAD"]


def wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Return as soon as the condition holds; fail when it does not within the time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            pytest.fail(f"still not so after {seconds:g} s")
        time.sleep(0.05)


@pytest.fixture
def no_actor_left(nodes: Nodes) -> Iterator[None]:
    """Fail unless every actor is gone when the test ends."""
    yield
    with contextlib.suppress(ConnectionError):
        wait_until(lambda: not alive(), 20)


def kill_process(number: int) -> None:
    """End a process at once."""
    os.kill(number, 9)
