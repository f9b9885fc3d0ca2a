"""The library's front door: one object that learns tasks in this process, without Prefect and Ray.

    learner = Learner(MyNetwork, input_shape=(1, 28, 28), epochs=5)      # MyNetwork(classes) is an nn.Module
    learner.learn("digits", (x, y))                                      # or any torch Dataset
    learner.learn("letters", letters)
    labels = learner.predict("digits", x)
    learner.save("s3://bucket/stream")

A learner is a network and a stream (`apd.store`). The stream begins in a temporary folder; from `save` on it is where
it was saved, and there the `apd` command finds it as well.
"""

import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from apd.config import (
    AcceptanceConfig,
    ConsolidationConfig,
    Dtype,
    LearningConfig,
    NetworkConfig,
    SplitConfig,
    StreamConfig,
    from_json,
)
from apd.consolidation import consolidate
from apd.data import LocalFolder, TaskData, advice, load_task, validate_task
from apd.data.packing import pack_arrays, pack_dataset
from apd.data.packing.arrays import as_array, as_inputs
from apd.decomposition import bare_state
from apd.errors import ConfigError, DataError, StateError, TaskRefused, UnknownTask
from apd.joint import JointTask
from apd.metrics import most_frequent
from apd.networks import from_config, of_module
from apd.networks.network import check_device
from apd.networks.own import config_of, made_by_name
from apd.overview import accuracies_before_and_after, is_due, reasons_to_refuse, refit_is_due, shortfalls
from apd.refit import refit
from apd.state import Consolidation, Learned, Shape, TaskState, Tensors
from apd.store import Candidate, Proposal, Stream, TaskEntry, Version, normal_url
from apd.store.connect import temporary_folder
from apd.store.transfer import copy_stream
from apd.training import Fit, Progress, accuracy, predict_logits

Build = Callable[[int], nn.Module]
"""Makes a network for a number of classes: a class whose constructor takes that number, or a function."""

Labelled = tuple[Any, Any] | Dataset[Any]
"""Inputs (N, *input_shape) and labels (N,) as tensors, arrays or lists; or a Dataset of (input, label)."""

OnEpoch = Callable[[Progress], object]

SETTINGS: Mapping[str, type] = {
    "learning": LearningConfig,
    "acceptance": AcceptanceConfig,
    "consolidation": ConsolidationConfig,
    "split": SplitConfig,
}
"""Parts of a stream's configuration whose fields are keyword arguments of a learner."""


@dataclass(frozen=True, slots=True)
class Result:
    """What learning one task came to."""

    task: str
    classes: tuple[str, ...]
    """Names, in the order of `predict_proba`'s columns."""
    validation_accuracy: float
    """In [0, 1]."""
    test_accuracy: float
    """In [0, 1]."""
    capacity: float
    """Non-zeros of tau over the number of shared parameters."""
    seconds: float


class Learner:
    """Learns one task after another, and forgets none unless told to."""

    stream: Stream
    """Where everything is: versions, tasks and their data."""

    def __init__(
        self,
        network: Build | NetworkConfig,
        input_shape: Shape,
        input_dtype: Dtype = "float32",
        *,
        device: str = "cpu",
        **settings: Any,
    ) -> None:
        """Begin without tasks, in a temporary folder that goes with the learner and its copies unless it is saved.

        network: your own, or the configuration of a built-in one. input_shape: of one input, channels first.
        input_dtype: float32 inputs are taken as they are, uint8 ones are divided by 255. device: where to train.
        settings: fields of LearningConfig, AcceptanceConfig, ConsolidationConfig and SplitConfig; `seed` is that of
        training and split. Raises ConfigError for what cannot be used.
        """
        dtype = str(getattr(input_dtype, "__name__", input_dtype)).removeprefix("torch.")  # numpy's and torch's as well
        described = config_of(network, f"{__name__}:{built_by.__name__}")
        given = {"input_shape": input_shape, "input_dtype": dtype, "network": described}
        config = from_json(StreamConfig, given | _parts(settings))
        home = temporary_folder()  # lives on in the stream
        self._begin(Stream.create(home.url, config), network, device)
        self._network.check()

    @classmethod
    def load(
        cls,
        url: str | os.PathLike[str],
        network: Build | None = None,
        *,
        device: str = "cpu",
        storage_options: Mapping[str, Any] | None = None,
    ) -> "Learner":
        """Go on with a saved learner, or any stream; what is learned from now on is committed there.

        network: None for the one that the stream's configuration names, if that can be made. storage_options go to
        fsspec.
        """
        learner = cls.__new__(cls)
        learner._begin(Stream.open(normal_url(url), storage_options=storage_options), network, device)
        if network is None:
            learner._network.spec(2)
        return learner

    def _begin(self, stream: Stream, network: Build | NetworkConfig | None, device: str) -> None:
        check_device(device)
        self.stream, self._device = stream, device
        if network is None or isinstance(network, NetworkConfig):
            self._network = from_config(stream.config)
        else:
            self._network = of_module(network, stream.config.input_shape, stream.config.input_dtype)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of what it has learned, in that order."""
        return tuple(entry.name for entry in self.stream.head().entries)

    def classes(self, task: str) -> tuple[str, ...]:
        """Names of a task's classes, in the order of `predict_proba`'s columns."""
        return self.stream.head().entry(task).classes

    def learn(
        self,
        task: str,
        data: Labelled,
        *,
        validation: Labelled | None = None,
        test: Labelled | None = None,
        classes: Sequence[str] | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> Result:
        """Learn one more task; every earlier one predicts as before. Every s tasks (apd2), consolidate as well.

        task: lowercase letters, digits, '.', '_' and '-'. data, validation, test: all of one kind; what is not given is
        held out of `data`. Labels are class numbers or, in arrays, class names as well. classes: names in label order.
        The data is kept with the stream. Raises DataError when it cannot be used, or the name is taken; TaskRefused
        when the task stays below `min_accuracy` or `min_gain`, and `accept` learns it anyway.
        """
        started, head = time.monotonic(), self.stream.head()
        if head.has(task):
            raise DataError(f"task {task!r} was learned in version {head.entry(task).learned_in}; choose another name")
        with tempfile.TemporaryDirectory(prefix="apd-task-") as place:
            folder = Path(place)
            _pack(folder, task, (data, validation, test), classes, self.stream.config.input_shape)
            info = validate_task(LocalFolder(folder), self.stream.config)
            self.stream.inbox.check_name(LocalFolder(folder), info)
            if odd := advice(LocalFolder(folder), info):
                warnings.warn(f"{task}: {odd}", stacklevel=2)
            samples = load_task(LocalFolder(folder), self.stream.config)
            learned = self._fit(task, len(info.classes), samples, head, on_epoch)
            self.stream.inbox.accept(self.stream.inbox.submit(folder), info)
        accuracies = self._measure(learned.task, samples)
        seconds = time.monotonic() - started
        metrics = {**accuracies, "baseline": most_frequent(samples), "seconds": seconds}
        candidate = self.stream.write_candidate(learned, base=head, info=info, metrics=metrics)
        self.stream.evaluations.put(candidate.entry.theta_key, accuracies)
        reasons = shortfalls(self.stream, candidate)
        if reasons:
            self.stream.refusals.keep_task(candidate, reasons)
            raise TaskRefused(f"{'; '.join(reasons)}. `accept({task!r})` learns it anyway")
        return self._commit(candidate)

    def accept(self, task: str) -> Result:
        """Learn a refused task anyway, from what was trained. Raises UnknownTask when none of that name was refused."""
        refusal = self.stream.refusals.task(task)
        if refusal is None:
            raise UnknownTask(f"no task {task!r} was refused in {self.stream.url}")
        return self._commit(refusal.candidate)

    def _commit(self, candidate: Candidate) -> Result:
        entry = self.stream.commit_candidate(candidate).entry(candidate.task)
        if is_due(self.stream):
            self.consolidate()
        return Result(
            entry.name,
            entry.classes,
            **self._evaluations([candidate.entry])[candidate.entry.theta_key],
            capacity=entry.tau_nnz / self._network.spec(len(entry.classes)).size,
            seconds=entry.seconds or 0.0,
        )

    def _fit(self, task: str, classes: int, samples: TaskData, head: Version, on_epoch: OnEpoch | None) -> Learned:
        learning, arrival = self.stream.config.learning, self.stream.arrival(head)
        fit = Fit(self._network, task, classes, samples, arrival, learning, device=self._device)
        for progress in fit.epochs():
            if on_epoch is not None:
                on_epoch(progress)
        return fit.result()

    def _measure(self, state: TaskState, samples: TaskData) -> dict[str, float]:
        return {
            "validation_accuracy": accuracy(self._network, state, samples.validation),
            "test_accuracy": accuracy(self._network, state, samples.test),
        }

    def predict(self, task: str, inputs: Any) -> list[str]:
        """The class name of each of the inputs (N, *input_shape)."""
        names = self.classes(task)
        return [names[index] for index in self.predict_proba(task, inputs).argmax(1).tolist()]

    def predict_proba(self, task: str, inputs: Any) -> Tensor:
        """Probabilities (N, classes) of inputs (N, *input_shape): a tensor, array or lists, of the stream's dtype."""
        config = self.stream.config
        given = as_array(inputs, dtype=config.input_dtype)
        state = self.stream.load_task(self.stream.head(), task)
        if given.shape[:1] == (0,):
            return torch.empty(0, len(self.classes(task)))
        values = as_inputs(given, config.input_shape, "inputs")
        if values.dtype != config.input_dtype:
            raise DataError(f"inputs are {values.dtype} but the stream takes {config.input_dtype}")
        found = torch.from_numpy(values)
        if not found.isfinite().all():
            raise DataError("inputs hold values that are not finite numbers")
        return torch.softmax(predict_logits(self._network, state, found), dim=1)

    def accuracy(self) -> dict[str, float]:
        """Test accuracy in [0, 1] of every task as it is now; measured where its parameters have changed."""
        entries = self.stream.head().entries
        measured = self._evaluations(entries)
        return {entry.name: measured[entry.theta_key]["test_accuracy"] for entry in entries}

    def _evaluations(self, entries: Sequence[TaskEntry]) -> Mapping[str, Mapping[str, float]]:
        """Validation and test accuracy of exactly these parameters, by theta key."""
        found = self.stream.evaluations.get_all(entry.theta_key for entry in entries)
        for entry in entries:
            if found[entry.theta_key] is None:
                measured = self._measure(self.stream.load_entry(entry), self.stream.load_data(entry.name))
                self.stream.evaluations.put(entry.theta_key, measured)
                found[entry.theta_key] = measured
        return found

    def consolidate(self) -> Consolidation | None:
        """Put all tasks on one sigma and cluster their taus; `learn` does so every s tasks.

        Where a task would lose more than `max_accuracy_drop`, it is tried again with a third of the tolerance. With
        `refit` the first one learns sigma again instead. None when every try was refused. StateError without tasks.
        """
        stream, head = self.stream, self.stream.head()
        if head.sigma is None:
            raise StateError("nothing was learned yet: there is nothing to consolidate")
        for outcome in self._outcomes(head, stream.load_sigma(head.sigma)):
            proposal = stream.write_consolidation(outcome, base=head)
            if self._passes(head, proposal):
                stream.commit_consolidation(proposal)
                return outcome
        return None

    def _outcomes(self, head: Version, sigma: Tensors) -> Iterator[Consolidation]:
        """What the gate is asked about, one after another."""
        stream, settings, seed = self.stream, self.stream.config.consolidation, self.stream.config.learning.seed
        tasks = [stream.load_entry(entry) for entry in head.entries]
        if refit_is_due(stream, head):
            again = [JointTask(entry.name, len(entry.classes), stream.load_data(entry.name)) for entry in head.entries]
            epochs = settings.refit_epochs
            yield refit(self._network, tasks, again, stream.config.learning, epochs=epochs, device=self._device)
        for tolerance in settings.tolerances:
            yield consolidate(tasks, sigma, stream.clustering(head), replace(settings, tolerance=tolerance), seed)

    def _passes(self, head: Version, proposal: Proposal) -> bool:
        """Whether the gate lets the proposal become the head; a refused one is kept aside."""
        self._evaluations([*head.entries, *proposal.entries])
        reasons = reasons_to_refuse(self.stream, proposal)
        if reasons:
            accuracies = accuracies_before_and_after(self.stream, proposal)
            self.stream.refusals.keep_consolidation(proposal, reasons, accuracies)
        return not reasons

    def forget(self, task: str) -> None:
        """Remove a task, with its data, from every version; the others keep every bit. Raises UnknownTask."""
        self.stream.commit_forget(task)

    def export(self, task: str) -> dict[str, Tensor]:
        """The task as a plain state dict: `MyNetwork(classes).load_state_dict(learner.export(task))`."""
        return self._network.state_dict(bare_state(self.stream.load_task(self.stream.head(), task)))

    def save(self, url: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None) -> None:
        """Copy the whole stream, data and all versions, to an empty folder or `s3://bucket/prefix`, and go on there.

        From then on every change is committed there at once. Raises AlreadyExists when there is a stream.
        """
        self.stream = copy_stream(self.stream, normal_url(url), storage_options)


def built_by(input_shape: Shape, classes: int, build: str) -> nn.Module:
    """The network of a stream that a learner began: the `module:callable` it was given, called with `classes` alone."""
    return made_by_name(build, classes)


def _parts(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a stream's configuration from their fields. Raises ConfigError for a name that none has."""
    fields_of = {part: {item.name for item in fields(kind)} for part, kind in SETTINGS.items()}
    known = set().union(*fields_of.values())
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ConfigError(f"unknown setting {unknown[0]!r}; a learner has {', '.join(sorted(known))}")
    return {
        part: from_json(kind, {name: settings[name] for name in fields_of[part] & set(settings)}, f"{part}.")
        for part, kind in SETTINGS.items()
    }


def _pack(folder: Path, task: str, splits: Sequence[Any], classes: Sequence[str] | None, input_shape: Shape) -> None:
    """Write train, validation and test (None: not given) as the task folder that the `apd` command would submit."""
    if not isinstance(task, str):
        raise DataError(f"task is {task!r} but must be a name, as text")
    train, validation, test = splits
    given = [split for split in splits if split is not None]
    if all(isinstance(split, tuple | list) and len(split) == 2 for split in given):
        pack_arrays(folder, task, train, validation, test, classes, input_shape=input_shape)
    elif all(isinstance(split, Dataset) for split in given):
        pack_dataset(train, folder, task, validation, test, classes, input_shape=input_shape)
    else:
        found = ", ".join(type(split).__name__ for split in given)
        raise DataError(
            f"the data of task {task!r} is {found}; expected (inputs, labels), or torch Datasets throughout"
        )
