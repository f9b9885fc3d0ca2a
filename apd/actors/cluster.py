"""A connection to Ray, and actors that do one piece of work each.

Retries belong to the caller: Ray restarts nothing here, so a body never runs twice behind the caller's back.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray import exceptions

from apd.config import ResourceConfig
from apd.errors import ApdError, ClusterError
from apd.store import is_local

LOCAL = {"RAY_AUTH_MODE": "disabled", "RAY_DEDUP_LOGS": "0", "RAY_USAGE_STATS_ENABLED": "0"}
"""Environment of a Ray that lives on this machine's loopback only; what the user has set stays."""


@contextlib.contextmanager
def cluster(url: str, address: str | None = None) -> Iterator[None]:
    """Connect to Ray for the time of the block: the connection there is, `address`, RAY_ADDRESS, or a local Ray.

    Raises ClusterError when the cluster cannot be reached, runs other versions, or has nodes on other machines while
    the stream at `url` is a local folder that they could not see.
    """
    if ray.is_initialized():
        yield
        return
    _connect(address or os.environ.get("RAY_ADDRESS"))
    try:
        _refuse_folder_out_of_reach(url)
        yield
    finally:
        ray.shutdown()


def _connect(address: str | None) -> None:
    try:
        if address:
            ray.init(address=address, log_to_driver=False, configure_logging=False)
            return
        for name, value in LOCAL.items():
            os.environ.setdefault(name, value)
        ray.init(
            address="local",  # without it Ray joins whatever cluster was started last on this machine
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            object_store_memory=128 * 2**20,
            _node_ip_address="127.0.0.1",
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(f"no connection to the Ray cluster at {address or 'this machine'}: {error}") from error


def _refuse_folder_out_of_reach(url: str) -> None:
    if not is_local(url):
        return
    here = socket.gethostname()
    elsewhere = {node["NodeManagerHostname"] for node in _nodes()} - {here}
    if elsewhere:
        raise ClusterError(
            f"the stream is the local folder {url} but the Ray cluster has nodes on {', '.join(sorted(elsewhere))}, "
            "which cannot read it; keep the stream in a bucket (s3://...) or use a local Ray"
        )


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def check_resources(wanted: ResourceConfig) -> None:
    """Raise ClusterError unless some node is large enough for one actor; waiting for it would last for ever."""
    needs = _requests(wanted)
    nodes = [node["Resources"] for node in _nodes()]
    if any(all(node.get(name, 0) >= amount for name, amount in needs.items()) for node in nodes):
        return
    offers = "; ".join(", ".join(f"{name} {node.get(name, 0):g}" for name in needs) for node in nodes)
    asked = ", ".join(f"{name} {amount:g}" for name, amount in needs.items())
    raise ClusterError(f"an actor asks for {asked} but no Ray node has that; the nodes have: {offers}")


def _requests(wanted: ResourceConfig) -> dict[str, float]:
    memory = {} if wanted.memory is None else {"memory": float(wanted.memory)}
    gpus = {"GPU": wanted.num_gpus} if wanted.num_gpus else {}
    return {"CPU": wanted.num_cpus, **gpus, **memory, **wanted.custom}


def events(kind: type, method: str, url: str, *arguments: Any, resources: ResourceConfig) -> Iterator[Any]:
    """Start an actor of this kind on the stream, run one of its generator methods, yield what it yields.

    Errors of ours come back as themselves; an actor, worker or node that died is a ClusterError.
    """
    check_resources(resources)
    options = {
        "num_cpus": resources.num_cpus,
        "num_gpus": resources.num_gpus,
        "memory": resources.memory,
        "resources": dict(resources.custom),
    }
    actor: Any = ray.remote(kind).options(**options).remote(url)
    try:
        yield from _results(getattr(actor, method).options(num_returns="streaming").remote(*arguments))
    finally:
        ray.kill(actor)


def _results(stream: Any) -> Iterator[Any]:
    for reference in stream:
        yield _result(reference)


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except exceptions.RayTaskError as error:
        if isinstance(error.cause, ApdError):
            raise error.cause from None
        raise
    except (exceptions.RayActorError, exceptions.RaySystemError, exceptions.WorkerCrashedError) as error:
        raise ClusterError(f"the Ray actor was lost before it finished: {error}") from error


@contextlib.contextmanager
def companion(kind: type, method: str, url: str) -> Iterator[Callable[[str], None]]:
    """One actor beside the main work: what is handed to it is done in order, and is finished when the block ends."""
    actor: Any = ray.remote(kind).options(num_cpus=1).remote(url)
    pending: list[Any] = []
    try:
        yield lambda task: pending.append(getattr(actor, method).remote(task))
        for reference in pending:
            _result(reference)
    finally:
        ray.kill(actor)
