"""The heavy work, on a Ray cluster. The only module that knows Ray.

Each kind of work is a plain class that opens the stream where it runs, so that only names and numbers travel to it and
only small results travel back; tests use the classes without Ray. `events` gives one of them an actor of its own for one
piece of work, hands on what it yields as it is yielded, and releases the actor whatever happens.

Retries belong to the caller: Ray restarts nothing here, so a body never runs twice behind the caller's back.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray import exceptions

from apd.config import ResourceConfig
from apd.consolidation import consolidate
from apd.data import TaskData, load_task
from apd.errors import ApdError, ClusterError
from apd.networks import Network, from_config
from apd.state import TaskState
from apd.store import Candidate, Proposal, Stream, TaskEntry, is_local
from apd.training import Fit, Progress, accuracy

LOCAL = {"RAY_AUTH_MODE": "disabled", "RAY_DEDUP_LOGS": "0", "RAY_USAGE_STATS_ENABLED": "0"}
"""Environment of a Ray that lives on this machine's loopback only; what the user has set stays."""


@contextlib.contextmanager
def cluster(url: str, address: str | None = None) -> Iterator[None]:
    """A connection to Ray for the time of the block: the one there is, `address`, RAY_ADDRESS, or a local one.

    Raises ClusterError when the cluster cannot be reached, runs other versions, or has nodes on other machines while the
    stream at `url` is a local folder that they could not see.
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
    elsewhere = {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]} - {here}
    if elsewhere:
        raise ClusterError(
            f"the stream is the local folder {url} but the Ray cluster has nodes on {', '.join(sorted(elsewhere))}, "
            "which cannot read it; keep the stream in a bucket (s3://...) or use a local Ray"
        )


def check_resources(wanted: ResourceConfig) -> None:
    """Raise ClusterError unless some node is large enough for one actor; waiting for it would last for ever."""
    needs = _requests(wanted)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
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
    actor = ray.remote(kind).options(**options).remote(url)
    try:
        yield from _results(getattr(actor, method).options(num_returns="streaming").remote(*arguments))
    finally:
        ray.kill(actor)


def _results(stream: Any) -> Iterator[Any]:
    try:
        for reference in stream:
            yield ray.get(reference)
    except exceptions.RayTaskError as error:
        if isinstance(error.cause, ApdError):
            raise error.cause from None
        raise
    except (exceptions.RayActorError, exceptions.RaySystemError, exceptions.WorkerCrashedError) as error:
        raise ClusterError(f"the Ray actor was lost before it finished: {error}") from error


def device() -> str:
    """Where this process computes: its GPU when Ray gave it one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


class Worker:
    """What every kind of work has: the stream, its network, one torch thread (processes are the parallelism)."""

    def __init__(self, url: str) -> None:
        torch.set_num_threads(1)
        self.stream = Stream.open(url)
        self.network: Network = from_config(self.stream.config)

    def _data(self, task: str) -> TaskData:
        return load_task(self.stream.task_folder(task), self.stream.config)


class Trainer(Worker):
    """Learns one task; resumes the attempt that an earlier trainer of the task left behind."""

    def learn(self, task: str, base: int) -> Iterator[Progress | Candidate]:
        """Train on top of version `base` (or the version the attempt began from), yielding every epoch, then the result.

        Everything the result refers to is in the store when it is yielded; committing it is the caller's part.
        """
        started, stream = time.monotonic(), self.stream
        attempt = stream.load_attempt(task)
        version = stream.version(attempt.values["base"] if attempt else base)
        data = self._data(task)
        info = stream.task_info(task)
        learning = stream.config.learning
        fit = Fit(self.network, task, len(info.classes), data, stream.arrival(version), learning, device=device())
        spent = 0.0
        if attempt:
            fit.restore(attempt)
            spent = attempt.values["seconds"]
        saved = time.monotonic()
        for progress in fit.epochs():
            yield progress
            if time.monotonic() - saved >= stream.config.resources.save_every:
                seconds = spent + time.monotonic() - started
                stream.save_attempt(task, fit.snapshot(), base=version.number, seconds=seconds)
                saved = time.monotonic()
        learned = fit.result()
        test = accuracy(self.network, learned.task, data.test)
        metrics = {
            "validation_accuracy": learned.validation_accuracy,
            "test_accuracy": test,
            "best_epoch": learned.best_epoch,
            "seconds": spent + time.monotonic() - started,
        }
        yield stream.write_candidate(learned, base=version, info=info, metrics=metrics)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Accuracy of one state of one task on its kept data, in [0, 1]."""

    task: str
    theta_key: str
    validation_accuracy: float
    test_accuracy: float


class Evaluator(Worker):
    """Measures tasks as they are stored."""

    def evaluate(self, entries: Sequence[TaskEntry]) -> Iterator[Evaluation]:
        """Read each entry's parameters and data from the store; yield its accuracy and record it under its theta key."""
        for entry in entries:
            state, data = self.stream.load_entry(entry), self._data(entry.name)
            evaluation = self._measure(entry, state, data)
            record = {"validation_accuracy": evaluation.validation_accuracy, "test_accuracy": evaluation.test_accuracy}
            self.stream.evaluations.put(entry.theta_key, record)
            yield evaluation

    def _measure(self, entry: TaskEntry, state: TaskState, data: TaskData) -> Evaluation:
        validation = accuracy(self.network, state, data.validation)
        return Evaluation(entry.name, entry.theta_key, validation, accuracy(self.network, state, data.test))


class Consolidator(Worker):
    """Clusters the taus of a version."""

    def propose(self, base: int) -> Iterator[Proposal]:
        """Consolidate version `base`; yield the proposal, whose blobs are in the store. Committing it is the caller's part."""
        stream = self.stream
        version = stream.version(base)
        tasks = [stream.load_entry(entry) for entry in version.entries]
        settings = stream.config.consolidation
        outcome = consolidate(
            tasks, stream.load_sigma(version.sigma), stream.centres(version), settings, seed=stream.config.learning.seed
        )
        yield stream.write_consolidation(outcome, base=version)
