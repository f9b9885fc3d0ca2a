"""One actor for each piece of work, there for as long as the work and no longer.

Retries belong to the caller: Ray restarts nothing here, so a body never runs twice behind the caller's back. Errors of
ours come back as themselves. What an actor, its process or its node died of is a WorkerLost.
"""

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator
from concurrent import futures
from typing import Any

import ray
from ray import exceptions

from apd.actors.resources import IDLE, actor_options, check_resources
from apd.actors.versions import versions
from apd.config import ResourceConfig
from apd.device import is_of_the_gpu, is_out_of_memory
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
"""Seconds after which who waits looks whether there was a signal, or Ray was shut down."""

SETTLE = 20.0
"""Seconds for which actors are waited for once the first of several is there; a process starts in some three."""

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
    with several(kind, url, resources, 1) as (handle,):
        yield handle


@contextlib.contextmanager
def several(kind: type, url: str, resources: ResourceConfig, most: int) -> Iterator[list[Any]]:
    """As `actor`, `most` of them at most: those that are there SETTLE seconds after the first of them.

    Two programs that ask for the same free room at the same time each get a part of it. Neither waits for the rest,
    which would be for ever.
    """
    require_connection()
    check_resources(resources)
    options = IDLE if getattr(kind, "waits", False) else actor_options(resources)
    handles: dict[str, Any] = {}
    try:
        for _ in range(most):
            handle: Any = ray.remote(kind).options(**options).remote(url)
            name = handle._actor_id.hex()
            with _lock:
                handles[name] = _alive[name] = handle
        _keep_who_came(handles)
        yield list(handles.values())
    except (SystemExit, *LOST):  # Ray's words for a connection that is closed under those who wait
        if not any(map(_stopped, handles)):
            raise
        raise ClusterError(STOPPED) from None
    finally:
        for name in handles:
            _release(name)


def _keep_who_came(handles: dict[str, Any]) -> None:
    """Wait for the first actor, and a while for the others; whoever is not there by then is removed and killed."""
    greetings = {handle.expect.remote(versions(), socket.gethostname()): name for name, handle in handles.items()}
    came = _answered(list(greetings))
    for reference, name in greetings.items():
        if reference in came:
            result_of(reference, name)
        else:
            _release(name)
            del handles[name]


def _answered(references: list[Any]) -> set[Any]:
    """Those with an answer, or an error, SETTLE seconds after the first; see `_wait` for the two ways to wait."""
    if threading.current_thread() is not threading.main_thread():
        _ready(references)
        return set(_ready(references, len(references), SETTLE))
    waited = {reference.future(): reference for reference in references}
    first_done(waited)
    until = time.monotonic() + SETTLE
    while futures.wait(waited, LOOK_UP).not_done and time.monotonic() < until:
        pass
    return {reference for future, reference in waited.items() if future.done()}


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
        results = getattr(handle, method).options(num_returns="streaming").remote(*arguments)
        while True:
            _ready([results])
            try:
                reference = next(results)
            except StopIteration:
                return
            yield result_of(reference, name)


@contextlib.contextmanager
def companion(kind: type, method: str, url: str) -> Iterator[Callable[[str], None]]:
    """One actor beside the main work: what is handed to it is done in order, and is finished when the block ends.

    It asks for next to nothing: where Ray counts a single CPU, the main work would wait for that for ever.
    """
    with actor(kind, url, ResourceConfig(num_cpus=0.01)) as handle:
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
    _ready([reference])
    return ray.get(reference)


def _ready(references: list[Any], number: int = 1, seconds: float = math.inf) -> list[Any]:
    """`ray.wait`, which once in a while does not hear that Ray was shut down, and so is asked again and again."""
    until = time.monotonic() + seconds
    while True:
        ready, _ = ray.wait(references, num_returns=number, timeout=LOOK_UP)
        if len(ready) >= number or time.monotonic() >= until:
            return ready


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
    if is_of_the_gpu(error.cause):
        return ClusterError(f"the actor's GPU failed: {error.cause}")
    return error
