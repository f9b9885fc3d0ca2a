"""The kinds of heavy work: plain classes that open the stream where they run, take names, and yield small results."""

import functools
import logging
import math
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import ray
import torch

from apd.actors import metrics
from apd.actors.versions import Versions, require_versions
from apd.baselines import FineTuning, SeparateNetwork
from apd.data import Samples, TaskData
from apd.decomposition import bare_state
from apd.errors import ClusterError, StateError, StoreError
from apd.joint import JointTraining
from apd.loop import bare_accuracy, bare_hits
from apd.metrics import most_frequent
from apd.networks import Network, from_config
from apd.state import Arrival, Snapshot, TaskState
from apd.store import Candidate, Registration, Stream, TaskEntry
from apd.team import ALONE
from apd.training import Fit, Progress


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Accuracy of one state of one task on its kept data, in [0, 1]."""

    task: str
    theta_key: str
    validation_accuracy: float
    test_accuracy: float


def has_gpu() -> bool:
    """Whether Ray gave this process a GPU, or part of one. A process without sees all GPUs of its node nevertheless."""
    return ray.is_initialized() and bool(ray.get_gpu_ids())


COMPARISON = "_comparison"
"""Name of the attempt that holds the fine-tuned network; no task can have it."""


class Worker:
    """What every kind of work has: the stream, its network, one torch thread (processes are the parallelism)."""

    waits = False
    """Whether it only waits for others that work, and takes no resources itself."""

    def __init__(self, url: str) -> None:
        """Nothing can fail here: what an actor's constructor raises does not reach its caller as itself."""
        torch.set_num_threads(1)
        self.url = url

    @functools.cached_property
    def stream(self) -> Stream:
        """The stream; the errors of a store that this node cannot reach name the node."""
        try:
            return Stream.open(self.url)
        except StoreError as error:
            raise type(error)(f"node {socket.gethostname()}: {error}") from error

    @functools.cached_property
    def network(self) -> Network:
        """The network that the stream's configuration names."""
        return from_config(self.stream.config)

    @functools.cached_property
    def device(self) -> str:
        """Where it computes: on the GPU that Ray gave to it. ClusterError when this node's torch cannot use that."""
        if not has_gpu():
            return "cpu"
        try:
            torch.zeros(1, device="cuda").item()  # a GPU that is there may be one that this build has no code for
        except (RuntimeError, AssertionError) as error:
            raise ClusterError(
                f"node {socket.gethostname()}: Ray gave this actor a GPU that torch {torch.__version__} cannot use; "
                "install the CUDA build there (APD_TORCH=cuda infra/setup), and a driver that it can work with "
                f"({error})"
            ) from None
        return "cuda"

    def expect(self, versions: Versions, host: str) -> None:
        """Raise ClusterError unless this process runs the same versions as the driver on that host."""
        require_versions(versions, host)

    def measure(self, entry: TaskEntry, data: TaskData) -> Evaluation:
        """Accuracy of a task as it is stored, recorded under its theta key: proof that what has this key is measured.

        Theta follows from blobs that are read by their digests; its own digest is not taken again.
        """
        state = self.stream.load_entry(entry)
        accuracies = {
            "validation_accuracy": self._accuracy(state, data.validation),
            "test_accuracy": self._accuracy(state, data.test),
        }
        self.stream.evaluations.put(entry.theta_key, accuracies)
        return Evaluation(entry.name, entry.theta_key, **accuracies)

    def _accuracy(self, state: TaskState, split: Samples) -> float:
        return bare_hits(self.network, bare_state(state), split, torch.device(self.device)) / len(split)


class Trainer(Worker):
    """Learns one task; resumes the attempt that an earlier trainer of the task left behind."""

    team = ALONE
    """Who learns it together; every worker calls `learn`, and the one of rank 0 writes to the store."""

    def learn(self, task: str, base: int) -> Iterator[Progress | Candidate]:
        """Train on top of version `base`, from where an attempt on it ended; yield every epoch, then rank 0's result.

        Everything the result refers to is in the store when it is yielded; committing it is the caller's part.
        """
        started, stream = time.monotonic(), self.stream
        registered = stream.inbox.registration(task)  # before its data is read: another may come under its name
        version, info, data = stream.version(base), registered.info, stream.load_data(task)
        siblings, mask_start = stream.tasks_ahead(task, version), stream.config.learning.mask_start
        arrival = beside(stream.arrival(version), siblings, mask_start)
        learning, classes = stream.config.learning, len(info.classes)
        fit = Fit(self.network, task, classes, data, arrival, learning, device=self.device, team=self.team)
        started -= self._resume(fit, registered, base)
        yield from self._epochs(fit, registered, base, started, len(data.train))
        if not self.team.leads:
            return
        learned = fit.result()
        facts = {
            "validation_accuracy": learned.validation_accuracy,
            "test_accuracy": self._accuracy(learned.task, data.test),
            "baseline": most_frequent(data),
            "device": self.device,
            "seconds": time.monotonic() - started,
        }
        candidate = stream.write_candidate(learned, base=version, info=info, metrics=facts, arrival=registered.number)
        self.measure(candidate.entry, data)
        yield candidate

    def _resume(self, fit: Fit, arrival: Registration, base: int) -> float:
        """Restore the attempt at this arrival on this base, if there is one; returns the seconds that it took."""
        attempt = self.stream.load_attempt(arrival.task)
        if attempt is None or attempt.values.get("arrival") != arrival.number or not goes_on(fit, attempt, base):
            return 0.0
        return float(attempt.values["seconds_spent"])

    def _epochs(self, fit: Fit, arrival: Registration, base: int, started: float, samples: int) -> Iterator[Progress]:
        """Train to the end on so many samples, saving the attempt as often as the stream wants it."""
        config = self.stream.config
        saved, every = time.monotonic(), config.resources.save_every
        begun = saved
        for progress in fit.epochs():
            seconds, density = time.monotonic() - begun, progress.tau_density
            if self.team.leads:
                metrics.trained(self.stream.url, arrival.task, samples, config.learning.batch_size, seconds, density)
            yield progress
            if self.team.leads and time.monotonic() - saved >= every:
                spent = time.monotonic() - started
                told = {"base": base, "arrival": arrival.number, "seconds_spent": spent}
                self.stream.save_attempt(arrival.task, fit.snapshot(), **told)
                saved = time.monotonic()
            begun = time.monotonic()


def goes_on(training: Fit | JointTraining, attempt: Snapshot, base: int) -> bool:
    """Restore the attempt if it is one at this version of the stream; whether it was restored.

    One that an older apd made, with other settings or state, is left: the task is learned from its first epoch.
    """
    if attempt.values["base"] != base:
        return False
    try:
        training.restore(attempt)
    except StateError as error:
        logging.getLogger(__name__).warning("training begins anew: %s", error)
        return False
    return True


def beside(arrival: Arrival, siblings: int, mask_start: float) -> Arrival:
    """The arrival of a task that will be committed after so many others, which train at the same time.

    Like the earlier tasks, each of them will pay a tau wherever this task moves sigma; of their masks only the start is
    known. Sixteen digits tasks in five orders, four at a time: 7 % more taus than one at a time.
    """
    if arrival.sigma is None or not siblings:
        return arrival
    mask = 1 / (1 + math.exp(-mask_start))
    pull = {name: total + siblings * mask for name, total in arrival.pull.items()}
    return replace(arrival, pull=pull, earlier=arrival.earlier + siblings)


class Evaluator(Worker):
    """Measures tasks as they are stored."""

    def evaluate(self, entry: TaskEntry) -> Evaluation:
        """Read the task's parameters and data from the store; its accuracy is recorded under its theta key."""
        return self.measure(entry, self.stream.load_data(entry.name))


class Comparer(Worker):
    """Trains beside APD what people would use otherwise, on the same data with the same budget."""

    @functools.cached_property
    def _tuned(self) -> FineTuning:
        tuned = FineTuning(self.network, self.stream.config.learning, device=self.device)
        snapshot = self.stream.load_attempt(COMPARISON)
        if snapshot:
            tuned.restore(snapshot)
        return tuned

    def compare(self, task: str) -> None:
        """A separate network for this task, and one more round of fine-tuning; recorded in the store, once."""
        if self.stream.comparisons.get(task) is not None:
            return
        data, classes = self.stream.load_data(task), len(self.stream.task_info(task).classes)
        separate = self._separate(task, classes, data)
        if task not in self._tuned.tasks:
            for _ in self._tuned.learn(task, classes, data):
                pass
            self.stream.save_attempt(COMPARISON, self._tuned.snapshot())
        tuned = {name: self._tuned.accuracy(name, self.stream.load_data(name).test) for name in self._tuned.tasks}
        self.stream.comparisons.put(task, {"separate": separate, "fine_tuning": tuned})

    def _separate(self, task: str, classes: int, data: TaskData) -> float:
        training = SeparateNetwork(self.network, task, classes, data, self.stream.config.learning, device=self.device)
        for _ in training.epochs():
            pass
        return bare_accuracy(self.network, training.result().tensors, data.test)
