"""One network for several tasks at once (MTL): what sharing could reach if nothing had to arrive.

    joint = JointTraining(network, tasks, config)
    for progress in joint.epochs():
        ...                               # print, save joint.snapshot(), or stop
    joint.body, joint.accuracies

The epochs are those of one task (`apd.loop`): what decays, what is averaged, in which order samples come.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import itemgetter, or_
from statistics import mean
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from apd.adam import Adam, Group
from apd.config import LearningConfig, to_json
from apd.data import TaskData
from apd.device import arithmetic, laid_out, resident, seeded, sent
from apd.errors import StateError
from apd.loop import (
    Progress,
    add_to_mean,
    bare_hits,
    begun_finite,
    by_name,
    first_averaged,
    labelled,
    require_finite,
    under,
)
from apd.networks import Network
from apd.state import Snapshot, Tensors, require_agreement, sums_of, take_over


@dataclass(frozen=True, slots=True, eq=False)
class JointTask:
    """One of the tasks that are trained together."""

    name: str
    classes: int
    data: TaskData


class JointTraining:
    """One body and a head per task, trained on all tasks in turn; statistics such as BatchNorm's go with the head.

    An epoch passes once over every task's training split, batch by batch from one task after another, those of a small
    task as far apart as there is room; the result is the mean of the last epochs' parameters.
    """

    def __init__(
        self,
        network: Network,
        tasks: Sequence[JointTask],
        config: LearningConfig,
        *,
        start: Tensors = MappingProxyType({}),
        device: str = "cpu",
    ) -> None:
        """tasks: one or more, of any numbers of classes. start: values that the body begins with instead of its own."""
        self.network, self.tasks, self.config, self.device = network, tasks, config, torch.device(device)
        self._start = start
        self._train = {task.name: resident(task.data.train, self.device) for task in tasks}
        self._validation = {task.name: resident(task.data.validation, self.device) for task in tasks}
        spec, parameters = network.spec(tasks[0].classes), set(network.trainable(tasks[0].classes))
        initial = {task.name: network.initial(task.classes, config.seed) for task in tasks}
        own = network.own(tasks[0].classes)
        body = {key: start.get(key, value) for key, value in initial[tasks[0].name].items() if key not in own}
        self._body = _leaves(body, parameters, self.device)
        heads = {name: {key: values[key] for key in own} for name, values in initial.items()}
        self._heads = {name: _leaves(head, parameters, self.device) for name, head in heads.items()}
        decayed = {key: value for key, value in self._body.items() if key in spec.shared}
        free = {key: value for key, value in _moved(self._body).items() if key not in spec.shared}
        self._adam = Adam((Group(decayed, config.weight_decay), Group(free)))
        self._head_adam = {name: Adam((Group(_moved(head)),)) for name, head in self._heads.items()}
        self._epoch, self._seconds = 0, 0.0
        self._mean: dict[str, Tensor] = {}
        self._finite = begun_finite(self._model)

    def epochs(self) -> Iterator[Progress]:
        """Train, one yield per finished epoch, from the epoch after the last one finished, here or before `restore`.

        What it yields are means over tasks. Raises Diverged after an epoch that led to what is not finite.
        """
        while self._epoch < self.config.epochs:
            started = time.monotonic()
            self._epoch += 1
            loss, train_accuracy = self._train_epoch()
            self._require_finite(loss, self._finite)
            accuracy = mean(map(self._validate, self.tasks))
            first = first_averaged(self.config.epochs)
            if self._epoch >= first:
                add_to_mean(self._mean, self._model, self._epoch - first + 1)
            self._seconds += time.monotonic() - started
            total = self.config.epochs
            yield Progress(self._epoch, total, loss, train_accuracy, accuracy, 0.0, self._seconds)

    def run(self) -> dict[str, float]:
        """Train to the end; returns the accuracies."""
        for _ in self.epochs():
            pass
        return self.accuracies

    @property
    def body(self) -> Tensors:
        """What the tasks share, on the CPU; StateError before the last epoch, or Diverged."""
        return {name: tensor.cpu() for name, tensor in self._learned("body").items()}

    @property
    def accuracies(self) -> dict[str, float]:
        """Each task's test accuracy, in [0, 1]; StateError before the last epoch."""
        body = self._learned("body")
        return {
            task.name: bare_hits(self.network, body | self._learned(f"head/{task.name}"), task.data.test, self.device)
            / len(task.data.test)
            for task in self.tasks
        }

    def _learned(self, part: str) -> dict[str, Tensor]:
        if self._epoch < self.config.epochs:
            raise StateError(f"joint training has finished {self._epoch} of {self.config.epochs} epochs: no result yet")
        self._require_finite(0.0, {name: self._mean[name] for name in self._finite})
        return under(part, self._mean)

    def _require_finite(self, loss: float, tensors: Tensors) -> None:
        require_finite(self._of, self._epoch, self.config, loss, tensors)

    @property
    def _of(self) -> str:
        """For messages."""
        return f"joint training of {len(self.tasks)} tasks"

    def snapshot(self) -> Snapshot:
        """All that the remaining epochs depend on; take it between epochs."""
        live = {name: value.detach().cpu().clone() for name, value in self._live().items()}
        average = {name: value.cpu().clone() for name, value in self._mean.items()}
        return Snapshot(
            live | labelled("mean", average), self._identity() | {"epoch": self._epoch, "seconds": self._seconds}
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from there; StateError if it was taken of other tasks, another configuration or network."""
        require_agreement(self._identity(), snapshot.values, self._of)
        take_over(self._live(), snapshot.tensors, self._of)
        self._mean = {name: value.to(self.device) for name, value in under("mean", snapshot.tensors).items()}
        self._epoch, self._seconds = snapshot.values["epoch"], snapshot.values["seconds"]

    def _identity(self) -> dict[str, Any]:
        names, sums = [task.name for task in self.tasks], sums_of(self._start)
        return {"method": type(self).__name__, "tasks": names, "learning": to_json(self.config), "sums_of_start": sums}

    @property
    def _model(self) -> dict[str, Tensor]:
        """Body and heads."""
        heads = [labelled(f"head/{name}", head) for name, head in self._heads.items()]
        return reduce(or_, heads, labelled("body", self._body))

    def _live(self) -> dict[str, Tensor]:
        heads = [labelled(f"head_adam/{name}", adam.state) for name, adam in self._head_adam.items()]
        return reduce(or_, heads, self._model | labelled("adam", self._adam.state))

    def _train_epoch(self) -> tuple[float, float]:
        """Mean loss and accuracy, every batch counting alike."""
        rate = self.config.learning_rate * self.config.learning_rate_decay ** (self._epoch - 1)
        totals, steps = torch.zeros(2, device=self.device), 0
        with seeded(self.config.seed * 1_000_003 + self._epoch, self.device):
            for task, inputs, labels in self._batches(self._epoch):
                totals += self._step(task, inputs, labels, rate)
                steps += 1
        loss, accuracy = (totals / steps).tolist()
        return loss, accuracy

    def _batches(self, epoch: int) -> Iterator[tuple[JointTask, Tensor, Tensor]]:
        config = self.config
        turns = []
        for number, task in enumerate(self.tasks):
            batches = list(self._train[task.name].batch_rows(config.batch_size, config.seed, epoch))
            turns += [((turn + 0.5) / len(batches), number, rows) for turn, rows in enumerate(batches)]
        for _, number, rows in sorted(turns, key=itemgetter(0, 1)):
            samples = self._train[self.tasks[number].name]
            yield self.tasks[number], *sent(samples.pick(rows), samples.labels[rows], self.device)

    def _step(self, task: JointTask, inputs: Tensor, labels: Tensor, rate: float) -> Tensor:
        """One step on one task's batch; (2,): its mean loss and the share of it that was labelled correctly."""
        tensors, precision = self._body | self._heads[task.name], self.config.precision
        with arithmetic(precision, inputs.device):
            logits = self.network.forward(tensors, laid_out(inputs, precision), training=True).float()
        loss = functional.cross_entropy(logits, labels)
        gradients = by_name(loss, tensors)
        self._adam.step(gradients, [rate, rate])
        self._head_adam[task.name].step(gradients, [rate])
        return torch.stack((loss.detach(), (logits.argmax(1) == labels).float().mean()))

    def _validate(self, task: JointTask) -> float:
        """Accuracy of the parameters as they are, in the precision of a step."""
        tensors, split = self._body | self._heads[task.name], self._validation[task.name]
        return bare_hits(self.network, tensors, split, self.device, precision=self.config.precision) / len(split)


def _moved(leaves: Tensors) -> dict[str, Tensor]:
    """Those that an optimiser moves."""
    return {key: value for key, value in leaves.items() if value.requires_grad}


def _leaves(tensors: Tensors, parameters: set[str], device: torch.device) -> dict[str, Tensor]:
    copied = {key: value.detach().to(device, copy=True) for key, value in tensors.items()}
    return {key: value.requires_grad_(key in parameters) for key, value in copied.items()}
