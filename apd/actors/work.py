"""One actor for each piece of work, there for as long as the work and no longer.

Retries belong to the caller: Ray restarts nothing here, so a body never runs twice behind the caller's back. Errors of
ours come back as themselves. What an actor, its process or its node died of is a WorkerLost.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Collection, Generator, Iterator
from concurrent import futures
from typing import Any

import ray
import torch
from ray import exceptions

from apd.actors.resources import IDLE, actor_options, check_resources
from apd.actors.versions import versions
from apd.config import ResourceConfig
from apd.errors import ApdError, ClusterError, WorkerLost

LOST = (
    exceptions.RayActorError,
    exceptions.WorkerCrashedError,
    exceptions.NodeDiedError,
    exceptions.OutOfMemoryError,
    exceptions.ObjectLostError,
    exceptions.RaySystemError,
    exceptions.LocalRayletDiedError,
)
"""What Ray raises when a process or a node is gone."""

REASON = 500
"""Characters of Ray's reasons that are worth reading; the rest is advice and tables."""

LOOK_UP = 0.5
"""Seconds after which the main thread looks whether there was a signal."""

STOPPED = "the work was stopped before it had finished"

_alive: dict[str, Any] = {}
"""The actors of this process, by id."""

_lock = threading.Lock()


def require_connection() -> None:
    """Raise ClusterError unless this process is connected to Ray."""
    if not ray.is_initialized():
        raise ClusterError("there is no connection to Ray; work is done inside `with cluster(...)`")


@contextlib.contextmanager
def actor(kind: type, url: str, resources: ResourceConfig) -> Iterator[Any]:
    """An actor of this kind on the stream, for the time of the block; it is killed when the block ends, however.

    Raises NoNode when no node is large enough, ClusterError without a connection or when its node runs other versions.
    """
    require_connection()
    check_resources(resources)
    options = IDLE if getattr(kind, "waits", False) else actor_options(resources)
    handle: Any = ray.remote(kind).options(**options).remote(url)
    name = handle._actor_id.hex()
    with _lock:
        _alive[name] = handle
    try:
        result_of(handle.expect.remote(versions(), socket.gethostname()), name)
        yield handle
    except (SystemExit, *LOST):  # Ray's words for a connection that is closed under those who wait
        if not _stopped(name):
            raise
        raise ClusterError(STOPPED) from None
    finally:
        _release(name)


def _release(name: str) -> None:
    with _lock:
        handle = _alive.pop(name, None)
    if handle is not None and ray.is_initialized():
        ray.kill(handle)


def release_all() -> None:
    """Kill every actor of this process; who waits for one, in whatever thread, gets a ClusterError."""
    for name in list(_alive):
        _release(name)


def events(kind: type, method: str, url: str, *arguments: Any, resources: ResourceConfig) -> Generator[Any, None, None]:
    """Run a generator method on an actor of its own; yield what it yields. Close the iterator to end the actor."""
    with actor(kind, url, resources) as handle:
        name = handle._actor_id.hex()
        for reference in getattr(handle, method).options(num_returns="streaming").remote(*arguments):
            yield result_of(reference, name)


@contextlib.contextmanager
def companion(kind: type, method: str, url: str) -> Iterator[Callable[[str], None]]:
    """One actor beside the main work: what is handed to it is done in order, and is finished when the block ends."""
    with actor(kind, url, ResourceConfig()) as handle:
        pending: list[Any] = []
        yield lambda task: pending.append(getattr(handle, method).remote(task))
        for reference in pending:
            result_of(reference, handle._actor_id.hex())


def result_of(reference: Any, name: str) -> Any:
    """The value of a reference that the actor of this name makes; errors as the module's docstring says."""
    try:
        return _wait(reference)
    except exceptions.RayTaskError as error:
        raise _translated(error) from None
    except LOST as error:
        if _stopped(name):
            raise ClusterError(STOPPED) from None
        if getattr(error, "actor_init_failed", False):
            raise ClusterError(f"a node cannot start the actor: {error}") from None
        reason = " ".join(str(error).split())[:REASON]
        raise WorkerLost(f"the actor was lost before its work was finished: {reason}") from error


def _stopped(name: str) -> bool:
    """Whether this process itself gave up the actor, or the connection to Ray."""
    return name not in _alive or not ray.is_initialized()


def _wait(reference: Any) -> Any:
    """`ray.get`, which in the main thread would lose the exception that a handler of SIGTERM raises.

    The future's answer never comes once Ray was shut down, as the main thread does when it is interrupted; so the
    other threads, which no signal reaches, do not wait for one.
    """
    if threading.current_thread() is threading.main_thread():
        future = reference.future()
        first_done([future])
        return future.result()
    return ray.get(reference)


def first_done(waited: Collection["futures.Future[Any]"]) -> set["futures.Future[Any]"]:
    """Wait until one or more of them are done; returns those.

    The system may hand a signal to any thread. The main thread alone answers it, and wakes only if it got it itself: so
    it does not sleep without end, or an interrupt would be heard when the work is over.
    """
    while not (done := futures.wait(waited, LOOK_UP, futures.FIRST_COMPLETED).done):
        pass
    return done


def _translated(error: exceptions.RayTaskError) -> Exception:
    """The error that the actor's code raised, as the caller should see it."""
    if isinstance(error.cause, ApdError):
        return error.cause
    if is_out_of_memory(error.cause):
        return WorkerLost(f"the actor ran out of memory ({error.cause}); give it more, or make the batches smaller")
    return error


def is_out_of_memory(error: BaseException) -> bool:
    """Python's own, a GPU's, or a RuntimeError, which is what torch raises on the CPU."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
