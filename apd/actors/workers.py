"""The kinds of heavy work: plain classes that open the stream where they run, take names, and yield small results."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from apd.baselines import FineTuning, SeparateNetwork
from apd.data import TaskData, load_task
from apd.errors import StateError
from apd.loop import bare_accuracy
from apd.networks import Network, from_config
from apd.store import Candidate, Proposal, Stream, TaskEntry
from apd.training import Fit, Progress, accuracy


def device() -> str:
    """Where this process computes: its GPU when Ray gave it one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Accuracy of one state of one task on its kept data, in [0, 1]."""

    task: str
    theta_key: str
    validation_accuracy: float
    test_accuracy: float


COMPARISON = "comparison"
"""Name of the attempt that holds the fine-tuned network."""


class Worker:
    """What every kind of work has: the stream, its network, one torch thread (processes are the parallelism)."""

    def __init__(self, url: str) -> None:
        torch.set_num_threads(1)
        self.stream = Stream.open(url)
        self.network: Network = from_config(self.stream.config)

    def measure(self, entry: TaskEntry, data: TaskData) -> Evaluation:
        """Accuracy of a task as it is stored, recorded under its theta key."""
        state = self.stream.load_entry(entry)
        accuracies = {
            "validation_accuracy": accuracy(self.network, state, data.validation),
            "test_accuracy": accuracy(self.network, state, data.test),
        }
        self.stream.evaluations.put(entry.theta_key, accuracies)
        return Evaluation(entry.name, entry.theta_key, **accuracies)

    def _data(self, task: str) -> TaskData:
        return load_task(self.stream.task_folder(task), self.stream.config)


class Trainer(Worker):
    """Learns one task; resumes the attempt that an earlier trainer of the task left behind."""

    def learn(self, task: str, base: int) -> Iterator[Progress | Candidate]:
        """Train on top of version `base`, or of the one the attempt began from; yield every epoch, then the result.

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
        metrics = {
            "validation_accuracy": learned.validation_accuracy,
            "test_accuracy": accuracy(self.network, learned.task, data.test),
            "best_epoch": learned.best_epoch,
            "seconds": spent + time.monotonic() - started,
        }
        candidate = stream.write_candidate(learned, base=version, info=info, metrics=metrics)
        self.measure(candidate.entry, data)
        yield candidate


class Evaluator(Worker):
    """Measures tasks as they are stored."""

    def evaluate(self, entries: Sequence[TaskEntry]) -> Iterator[Evaluation]:
        """Read each entry's parameters and data from the store; yield its accuracy, recorded under its theta key."""
        for entry in entries:
            yield self.measure(entry, self._data(entry.name))


class Consolidator(Worker):
    """Clusters the taus of a version."""

    def propose(self, base: int) -> Iterator[Proposal]:
        """Consolidate version `base`; yield the proposal, whose blobs are in the store, for the caller to commit."""
        from apd.consolidation import consolidate  # scikit-learn takes a second to import, which no other work needs

        stream = self.stream
        version = stream.version(base)
        if version.sigma is None:
            raise StateError(f"version {base} of {stream.url} has no tasks: there is nothing to consolidate")
        tasks = [stream.load_entry(entry) for entry in version.entries]
        settings = stream.config.consolidation
        outcome = consolidate(
            tasks,
            stream.load_sigma(version.sigma),
            stream.clustering(version),
            settings,
            seed=stream.config.learning.seed,
        )
        yield stream.write_consolidation(outcome, base=version)


class Comparer(Worker):
    """Trains beside APD what people would use otherwise, on the same data with the same budget."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._tuned = FineTuning(self.network, self.stream.config.learning, device=device())
        snapshot = self.stream.load_attempt(COMPARISON)
        if snapshot:
            self._tuned.restore(snapshot)

    def compare(self, task: str) -> None:
        """A separate network for this task, and one more round of fine-tuning; recorded in the store, once."""
        if self.stream.comparisons.get(task) is not None:
            return
        data, classes = self._data(task), len(self.stream.task_info(task).classes)
        separate = self._separate(task, classes, data)
        if task not in self._tuned.tasks:
            for _ in self._tuned.learn(task, classes, data):
                pass
            self.stream.save_attempt(COMPARISON, self._tuned.snapshot())
        tuned = {name: self._tuned.accuracy(name, self._data(name).test) for name in self._tuned.tasks}
        self.stream.comparisons.put(task, {"separate": separate, "fine_tuning": tuned})

    def _separate(self, task: str, classes: int, data: TaskData) -> float:
        training = SeparateNetwork(self.network, task, classes, data, self.stream.config.learning, device=device())
        for _ in training.epochs():
            pass
        return bare_accuracy(self.network, training.result().tensors, data.test)
