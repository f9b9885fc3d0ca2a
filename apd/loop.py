"""The training loop that all methods share: epochs of Adam, the mean of the last ones, snapshots to resume from.

A method is a subclass of `Loop` that says how its own tensors make up a network, and what a gradient by the network's
tensors means for its own. No file is read or written here: the caller decides when to save, print or stop.

Everything random follows from (seed, epoch), so a run restored from a snapshot gives the same bits on a CPU as one that
was never stopped.
"""

import functools
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from apd.adam import Adam, Group
from apd.config import LearningConfig, Precision, to_json
from apd.data import Samples, TaskData
from apd.device import arithmetic, evaluated_at_once, laid_out, resident, seeded, sent
from apd.errors import Diverged, StateError
from apd.networks import Network
from apd.networks.network import Forward
from apd.replay import Replay
from apd.state import Snapshot, Tensors, require_agreement, take_over
from apd.team import ALONE, Team

AVERAGED = 0.2
"""Share of the epochs, the last ones, whose parameters are averaged; at least one epoch. With more, epochs in which a
short training still gains weigh on the mean; with fewer, there is less to average."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What one finished epoch looks like."""

    epoch: int
    """From 1."""
    epochs: int
    """How many there will be."""
    loss: float
    """The objective: mean cross-entropy over the epoch, plus the penalties at its end."""
    train_accuracy: float
    """While training, in [0, 1]."""
    validation_accuracy: float
    """After the epoch, in [0, 1]."""
    tau_density: float
    """Non-zeros of tau over P."""
    seconds: float
    """Training time so far, earlier attempts included."""


@torch.no_grad()
def bare_logits(network: Network, tensors: Tensors, inputs: Tensor, batch_size: int | None = None) -> Tensor:
    """As `predict_logits`, for the state dict of a bare network."""
    there = {name: tensor.to(inputs.device) for name, tensor in tensors.items()}
    batch_size = batch_size or evaluated_at_once(network.input_shape)
    chunks = (inputs[start : start + batch_size] for start in range(0, len(inputs), batch_size))
    return torch.cat([network.forward(there, chunk, training=False) for chunk in chunks])


def bare_accuracy(network: Network, tensors: Tensors, split: Samples) -> float:
    """As `accuracy`, for the state dict of a bare network."""
    return bare_hits(network, tensors, split, split.labels.device) / len(split)


@torch.no_grad()
def bare_hits(
    network: Network,
    tensors: Tensors,
    split: Samples,
    device: torch.device,
    precision: Precision = "float32",
) -> int:
    """How many samples the state dict of a bare network labels correctly; computed on the device."""
    there = {name: tensor.to(device) for name, tensor in tensors.items()}
    correct = torch.zeros((), dtype=torch.int64, device=device)
    with arithmetic(precision, device):
        for inputs, labels in split.chunks(evaluated_at_once(network.input_shape)):
            logits = network.forward(there, laid_out(inputs.to(device), precision), training=False)
            correct += (logits.argmax(1) == labels.to(device)).sum()
    return int(correct)


class Loop(ABC):
    """Epochs of Adam over groups of named tensors; what is learned is the mean of the tensors after the last epochs.

    The step size is still large there, so that every epoch ends somewhere else around the same place; the middle
    generalises better than any of them, and better than the one that a small validation set prefers. Source: Izmailov
    and others, Averaging weights leads to wider optima and better generalization (2018).

    A subclass says how its tensors make up a network (`_network_tensors`) and what a gradient by the network's tensors
    means for them (`_update`).
    """

    def __init__(
        self,
        network: Network,
        name: str,
        data: TaskData,
        config: LearningConfig,
        groups: Sequence[Group],
        buffers: Tensors,
        device: str,
        team: Team = ALONE,
    ) -> None:
        """name: of the task, for messages and snapshots. groups: what Adam moves; buffers: what `forward` moves.

        team: those that train the same network on the same data at the same time; every worker has all of the data.
        """
        self.network, self.name, self.config, self.device = network, name, config, torch.device(device)
        self.team, self._buffers = team, buffers
        self._train = resident(data.train, self.device)
        self._validation = resident(data.validation, self.device)
        self._adam = Adam(groups)
        self._live = {key: tensor for group in groups for key, tensor in group.tensors.items()}
        self._live |= labelled("buffer", buffers)
        self._finite = begun_finite(self._live)
        self._rate = config.learning_rate
        self._epoch, self._seconds = 0, 0.0
        self._mean: dict[str, Tensor] = {}

    @abstractmethod
    def _network_tensors(self) -> dict[str, Tensor]:
        """The network's tensors now; those that are trained are leaves that require gradients."""

    @abstractmethod
    def _update(self, gradients: Tensors) -> None:
        """One step of Adam, from the gradients by the network's tensors; autograd is off."""

    def _end_epoch(self) -> tuple[float, float]:
        """What follows the last step of an epoch. Returns the objective's penalty terms and the density of tau."""
        return 0.0, 0.0

    @property
    def _first_averaged(self) -> int:
        """The first epoch whose parameters belong to the mean."""
        return first_averaged(self.config.epochs)

    def epochs(self) -> Iterator[Progress]:
        """Train, one yield per finished epoch, from the epoch after the last one finished, here or before `restore`.

        Raises Diverged, in all workers of a team alike, after an epoch that led to what is not finite.
        """
        while self._epoch < self.config.epochs:
            started = time.monotonic()
            self._epoch += 1
            loss, train_accuracy = self._train_epoch()
            self.team.average(self._buffers)
            self._require_finite(loss, self._finite)
            penalty, density = self._end_epoch()
            accuracy = self._validate()
            if self._epoch >= self._first_averaged:
                add_to_mean(self._mean, self._live, self._epoch - self._first_averaged + 1)
            self._seconds += time.monotonic() - started
            total = self.config.epochs
            yield Progress(self._epoch, total, loss + penalty, train_accuracy, accuracy, density, self._seconds)

    def _train_epoch(self) -> tuple[float, float]:
        config, epoch = self.config, self._epoch
        self._rate = config.learning_rate * config.learning_rate_decay ** (epoch - 1)
        loss, correct = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        with seeded(config.seed * 1_000_003 + epoch + 500_009 * self.team.rank, self.device):
            step = Replay(self._step) if self._replays else self._step
            for rows in self._train.batch_rows(config.batch_size, config.seed, epoch):
                inputs, labels = self._batch(self.team.share(rows))
                batch_loss, logits = step(inputs, labels, len(rows))
                loss += batch_loss * len(rows)
                correct += (logits.argmax(1) == labels).sum()
        return self.team.sum(float(loss)) / len(self._train), self.team.sum(float(correct)) / len(self._train)

    def _batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and labels of these rows, on the device."""
        return sent(self._train.pick(rows), self._train.labels[rows], self.device)

    def _step(self, inputs: Tensor, labels: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """One step on this worker's share of a batch of so many samples; its part of the batch's mean loss, logits."""
        tensors = self._network_tensors()
        with self.team.whole_batch(), arithmetic(self.config.precision, self.device):
            logits = self._forward(tensors, laid_out(inputs, self.config.precision), True).float()
        loss = functional.cross_entropy(logits, labels, reduction="sum") / batch
        gradients = self.team.total(by_name(loss, tensors))
        with torch.no_grad():
            self._update(gradients)
        return loss.detach(), logits.detach()

    @functools.cached_property
    def _forward(self) -> Forward:
        return self.network.bound(self._network_tensors(), self.device)

    @property
    def _replays(self) -> bool:
        return self.config.cuda_graphs and self.device.type == "cuda" and self.team.size == 1

    def _validate(self) -> float:
        """Validation accuracy of the parameters as they are, in the precision of a step; every worker has its share."""
        split = self._validation
        if self.team.size > 1:
            split = split.take(self.team.share(torch.arange(len(split))))
        tensors, precision = self._network_tensors(), self.config.precision
        hits = bare_hits(self.network, tensors, split, self.device, precision=precision)
        return self.team.sum(hits) / len(self._validation)

    def _validated(self, tensors: Tensors) -> float:
        """Validation accuracy of a result, in float32 as whoever uses it computes it."""
        return bare_hits(self.network, tensors, self._validation, self.device) / len(self._validation)

    def _require_finite(self, loss: float, tensors: Tensors) -> None:
        require_finite(f"task {self.name!r}", self._epoch, self.config, loss, tensors)

    def _result_tensors(self) -> dict[str, Tensor]:
        """The mean of the last epochs' parameters, on the CPU; StateError before the last epoch, or Diverged."""
        if self._epoch < self.config.epochs:
            raise StateError(
                f"task {self.name!r} has finished {self._epoch} of {self.config.epochs} epochs: no result yet"
            )
        mean = {name: tensor.cpu() for name, tensor in self._mean.items()}
        self._require_finite(0.0, {name: mean[name] for name in self._finite})
        return mean

    def snapshot(self) -> Snapshot:
        """All that the remaining epochs depend on; take it between epochs."""
        mean = labelled("mean", self._mean)
        tensors = {name: _copy(tensor).cpu() for name, tensor in (self._resumable() | mean).items()}
        return Snapshot(tensors, self._identity() | {"epoch": self._epoch, "seconds": self._seconds})

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from there; StateError if it was taken of another task, configuration, arrival or network."""
        of = f"task {self.name!r}"
        require_agreement(self._identity(), snapshot.values, of)
        take_over(self._resumable(), snapshot.tensors, of)
        self._mean = {name: tensor.to(self.device) for name, tensor in under("mean", snapshot.tensors).items()}
        self._epoch, self._seconds = snapshot.values["epoch"], snapshot.values["seconds"]

    def _identity(self) -> dict[str, Any]:
        """What a snapshot must agree on; JSON values."""
        return {"method": type(self).__name__, "task": self.name, "learning": to_json(self.config)}

    def _resumable(self) -> dict[str, Tensor]:
        """The live tensors of a snapshot."""
        return self._live | labelled("adam", self._adam.state)


def begun_finite(tensors: Tensors) -> dict[str, Tensor]:
    """Those of the tensors that are finite before training, so that they must stay so; a mask of -inf is none."""
    floats = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel()}
    return {name: tensor for name, tensor in floats.items() if _is_finite(tensor)}


def _is_finite(tensor: Tensor) -> Tensor:
    """A bool on the tensor's device; twelve times as fast as looking at each element would be."""
    return torch.stack(tensor.detach().aminmax()).isfinite().all()


def require_finite(of: str, epoch: int, config: LearningConfig, loss: float, tensors: Tensors) -> None:
    """Raise Diverged unless an epoch's loss, and the tensors after it, are finite; waits for their device once.

    of: such as "task 'shoes'".
    """
    finite = torch.stack(list(map(_is_finite, tensors.values()))).tolist()
    odd = [f"{name!r} is not finite" for name, good in zip(tensors, finite, strict=True) if not good]
    if odd or not math.isfinite(loss):
        found = odd[0] if math.isfinite(loss) else f"the loss is {loss}"
        coarse = "" if config.precision == "float32" else f", or learning.precision {config.precision} is too coarse"
        raise Diverged(
            f"{of} diverged in epoch {epoch} of {config.epochs}: {found}. Likely learning.learning_rate "
            f"{config.learning_rate} is too large, or the network gives what is not finite for some of the inputs "
            f"(a division by a deviation of 0, a logarithm of 0, inputs far from 1){coarse}"
        )


def first_averaged(epochs: int) -> int:
    """The first of the last epochs that are averaged, from 1."""
    return epochs - max(1, round(AVERAGED * epochs)) + 1


@torch.no_grad()
def add_to_mean(mean: dict[str, Tensor], tensors: Tensors, number: int) -> None:
    """Make the mean of `number` - 1 versions of these tensors that of `number`; of whole numbers the latest is kept."""
    for name, tensor in tensors.items():
        if number > 1 and tensor.is_floating_point():
            moved = mean[name].lerp(tensor, 1 / number)
            mean[name] = torch.where(mean[name] == tensor, tensor, moved)  # between -inf and -inf lies no number
        else:
            mean[name] = _copy(tensor)


def by_name(loss: Tensor, tensors: Tensors) -> dict[str, Tensor]:
    """Gradients of the loss by those of the tensors that require one; zeros where the loss does not depend on one."""
    wanted = {name: tensor for name, tensor in tensors.items() if tensor.requires_grad}
    gradients = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(wanted, gradients, strict=True))


def labelled(label: str, tensors: Tensors) -> dict[str, Tensor]:
    """The same tensors under `label/name`."""
    return {f"{label}/{name}": tensor for name, tensor in tensors.items()}


def under(label: str, tensors: Tensors) -> dict[str, Tensor]:
    """The inverse of `labelled`: the tensors that have this label, without it."""
    return {key.removeprefix(f"{label}/"): value for key, value in tensors.items() if key.startswith(f"{label}/")}


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()
