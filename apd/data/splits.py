"""Labelled samples, in which order they are trained on, and how one file becomes three splits."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from apd.config import SplitConfig
from apd.errors import DataError


class Samples(ABC):
    """N labelled samples, wherever their inputs are; the order of training does not depend on where that is."""

    labels: Tensor
    """(N,) int64, indices into the task's class names."""

    @property
    @abstractmethod
    def row_bytes(self) -> int:
        """Size of one input."""

    @abstractmethod
    def pick(self, rows: Tensor) -> Tensor:
        """The inputs at these indices, (n,) int64 on the labels' device: (n, *input_shape), uint8 or float32, there."""

    @abstractmethod
    def take(self, rows: Tensor) -> "Samples":
        """The samples at these indices, (n,) int64, in their order."""

    @abstractmethod
    def to(self, device: str | torch.device) -> "Samples":
        """The same samples for work on another device."""

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, batch_size: int, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(inputs, labels) of all samples once, in the order of `batch_rows`."""
        for rows in self.batch_rows(batch_size, seed, epoch):
            yield self.pick(rows), self.labels[rows]

    def batch_rows(self, batch_size: int, seed: int, epoch: int) -> Iterator[Tensor]:
        """Indices (n,) of all samples once, on the labels' device, in an order that (N, seed, epoch) alone decide.

        A last batch of one sample joins the batch before it: batch statistics of one sample do not exist.
        """
        order = permutation(len(self), seed, epoch).to(self.labels.device)
        starts = list(range(0, len(self), batch_size))
        if len(starts) > 1 and starts[-1] == len(self) - 1:
            starts.pop()
        yield from (order[start:end] for start, end in pairwise([*starts, len(self)]))

    def chunks(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(inputs, labels) of all samples, in their own order."""
        for start in range(0, len(self), batch_size):
            rows = torch.arange(start, min(start + batch_size, len(self)), device=self.labels.device)
            yield self.pick(rows), self.labels[rows]


@dataclass(frozen=True, slots=True, eq=False)
class Split(Samples):
    """Samples in memory."""

    inputs: Tensor
    """(N, *input_shape), uint8 or float32."""
    labels: Tensor

    def __post_init__(self) -> None:
        if self.labels.shape != self.inputs.shape[:1] or self.labels.dtype != torch.int64:
            found = f"labels {tuple(self.labels.shape)} {self.labels.dtype}, inputs {tuple(self.inputs.shape)}"
            raise DataError(f"found {found}; expected one int64 label per input")
        if self.inputs.dtype not in (torch.uint8, torch.float32):
            raise DataError(f"inputs are {self.inputs.dtype} but must be torch.uint8 or torch.float32")

    @property
    def row_bytes(self) -> int:
        """Size of one input."""
        return self.inputs[:1].nbytes

    def pick(self, rows: Tensor) -> Tensor:
        """A copy of these rows."""
        return self.inputs[rows]

    def take(self, rows: Tensor) -> "Split":
        """A copy of these samples."""
        rows = rows.to(self.labels.device)
        return Split(self.inputs[rows], self.labels[rows])

    def to(self, device: str | torch.device) -> "Split":
        """The same samples on another device."""
        return Split(self.inputs.to(device), self.labels.to(device))


@dataclass(frozen=True, slots=True, eq=False)
class Pool(Samples):
    """Samples of several tasks, one task after another; no input is copied."""

    parts: tuple[Samples, ...]
    labels: Tensor
    """Numbered through: the classes of a task follow those of the one before it."""

    @property
    def row_bytes(self) -> int:
        """Size of one input."""
        return self.parts[0].row_bytes

    def pick(self, rows: Tensor) -> Tensor:
        """These rows, of each part its own."""
        first, places, picked = 0, [rows[:0]], [self.parts[0].pick(rows[:0])]
        for part in self.parts:
            (mine,) = ((rows >= first) & (rows < first + len(part))).nonzero(as_tuple=True)
            if len(mine):
                places.append(mine)
                picked.append(part.pick(rows[mine] - first))
            first += len(part)
        inputs = torch.cat(picked)
        return torch.empty_like(inputs).index_copy_(0, torch.cat(places), inputs)

    def joined(self, device: str | torch.device) -> Split:
        """A copy of all of them on a device, where nothing has to be looked for then."""
        first = self.parts[0].pick(self.labels[:0])
        inputs, start = torch.empty((len(self), *first.shape[1:]), dtype=first.dtype, device=device), 0
        for part in self.parts:
            inputs[start : start + len(part)] = part.pick(torch.arange(len(part), device=part.labels.device))
            start += len(part)
        return Split(inputs, self.labels.to(device))

    def take(self, rows: Tensor) -> Split:
        """A copy of these samples, in memory."""
        rows = rows.to(self.labels.device)
        return Split(self.pick(rows), self.labels[rows])

    def to(self, device: str | torch.device) -> "Pool":
        """The same samples for work on another device."""
        return Pool(tuple(part.to(device) for part in self.parts), self.labels.to(device))


@dataclass(frozen=True, slots=True, eq=False)
class TaskData:
    """One task's samples: to train on, to choose by, to report on."""

    train: Samples
    validation: Samples
    test: Samples


def pool(tasks: Sequence[TaskData], classes: Sequence[int]) -> TaskData:
    """Several tasks, one or more, as one with all of their classes. classes: how many each of them has."""
    firsts = [sum(classes[:number]) for number in range(len(tasks))]

    def pooled(parts: Sequence[Samples]) -> Pool:
        labels = [part.labels + first for part, first in zip(parts, firsts, strict=True)]
        return Pool(tuple(parts), torch.cat(labels))

    return TaskData(
        pooled([task.train for task in tasks]),
        pooled([task.validation for task in tasks]),
        pooled([task.test for task in tasks]),
    )


def permutation(size: int, *key: int) -> Tensor:
    """(size,) int64: 0..size-1 in an order that depends on the arguments alone, the same on every machine and release.

    numpy's RandomState is the generator whose stream is frozen; torch and numpy's newer ones promise less.
    """
    state = np.random.RandomState([part % 2**32 for part in key])
    return torch.from_numpy(state.permutation(size).astype(np.int64))


def held_out(count: int, share: float, keep: int) -> int:
    """How many of a class's samples a split of this share takes: one at least, but leaving `keep` to other splits."""
    return min(max(1, round(count * share)), max(count - keep, 0))


def split_rows(labels: Tensor, config: SplitConfig, *, validation: bool, test: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Stratified rows (train, validation, test), each ascending; the last two are empty where not asked for.

    labels: (N,) int64. Which samples of a class are held out depends on the split seed, the label, and the row order.
    """
    parts: list[list[Tensor]] = [[], [], []]
    for label in torch.unique(labels).tolist():
        rows = (labels == label).nonzero().flatten()
        rows = rows[permutation(len(rows), config.seed, label)]
        tested = held_out(len(rows), config.test, keep=1 + validation) if test else 0
        chosen = held_out(len(rows), config.validation, keep=1 + tested) if validation else 0
        sizes = [len(rows) - tested - chosen, chosen, tested]
        for part, piece in zip(parts, torch.split(rows, sizes), strict=True):
            part.append(piece)
    train, validated, held = (torch.cat(part).sort().values for part in parts)
    return train, validated, held


def split(
    samples: Samples, config: SplitConfig, validation: Samples | None = None, test: Samples | None = None
) -> TaskData:
    """Three splits; those not given are held out of `samples`.

    DataError if that leaves one of them empty.
    """
    rows = split_rows(samples.labels, config, validation=validation is None, test=test is None)
    train, chosen, tested = (samples.take(part) for part in rows)
    data = TaskData(train, chosen if validation is None else validation, tested if test is None else test)
    for name, part in (("validation", data.validation), ("test", data.test)):
        if not len(part):
            raise DataError(f"{len(samples)} samples are too few to hold some out for {name}: give three per class")
    return data
