"""A public dataset in memory, and tasks made of some of its classes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from apd.config import SplitConfig
from apd.data.splits import Split, TaskData, split
from apd.data.tasks import NamedTask


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """A dataset with its official division."""

    train: Split
    test: Split
    classes: tuple[str, ...]
    """Names in label order."""


def task_of(
    name: str,
    data: Labelled,
    classes: Sequence[int],
    validation: float,
    view: Callable[[Tensor], Tensor] = torch.clone,
) -> NamedTask:
    """The task of telling these classes apart, numbered from 0 in the order given.

    validation: share of each class's training samples held out for validation. view: what the task sees of its
    inputs, (n, ...) uint8.
    """
    train, test = _chosen(data.train, classes, view), _chosen(data.test, classes, view)
    parts: TaskData = split(train, SplitConfig(validation=validation), test=test)
    return NamedTask(name, tuple(data.classes[label] for label in classes), parts)


def _chosen(samples: Split, classes: Sequence[int], view: Callable[[Tensor], Tensor]) -> Split:
    wanted = torch.tensor(classes)
    found = samples.take(torch.isin(samples.labels, wanted).nonzero().flatten())
    labels = (found.labels[:, None] == wanted).int().argmax(1)
    return Split(view(found.inputs), labels)
