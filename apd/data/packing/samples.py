"""What packers share: names of splits and classes, and samples gathered into chunks of one row group each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from apd.data.rows import Array, Chunk, rows_at_once
from apd.errors import DataError

ALIASES = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}
"""What files and folders call the splits."""
Sample = tuple[Array, int]
"""One input and its label."""


def stacked(place: str, samples: Iterable[Sample]) -> Iterator[Chunk]:
    """Samples of one shape and dtype, as chunks of one row group each; DataError names the first that differs.

    One chunk is held at most.
    """
    inputs: list[Array] = []
    labels: list[int] = []
    for number, (value, label) in enumerate(samples):
        if inputs and (value.shape, value.dtype) != (inputs[0].shape, inputs[0].dtype):
            found, expected = f"{value.dtype} {value.shape}", f"{inputs[0].dtype} {inputs[0].shape}"
            raise DataError(f"{place}, sample {number}: found {found}, expected {expected} as in the samples before")
        inputs.append(value)
        labels.append(label)
        if len(labels) >= rows_at_once(value.nbytes):
            yield np.stack(inputs), np.array(labels, np.int64)
            inputs, labels = [], []
    if labels:
        yield np.stack(inputs), np.array(labels, np.int64)


def given_classes(classes: Sequence[str] | None) -> list[str] | None:
    """The class names that a caller gives, as a list; what each of them is, `write_task` checks."""
    if classes is None:
        return None
    if isinstance(classes, str | Mapping | set | frozenset) or not isinstance(classes, Iterable):
        raise DataError(f"classes is {classes!r:.100}, expected a sequence of names in label order")
    return list(classes)


def own_classes(place: str, found: Any) -> list[str]:
    """The class names that a source brings with it; strings of bytes are UTF-8. DataError if they are anything else."""
    values = found.tolist() if isinstance(found, np.ndarray) else found
    problem = f"{place}: classes is {values!r:.100}, expected a sequence of strings; or give the names yourself"
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise DataError(problem)
    try:
        names = [name.decode() if isinstance(name, bytes) else name for name in values]
    except UnicodeDecodeError as error:
        raise DataError(f"{problem} ({error})") from None
    if not all(isinstance(name, str) for name in names):
        raise DataError(problem)
    return names


def relabelled(
    place: str, samples: Iterable[Sample], own: Sequence[str] | None, classes: Sequence[str] | None
) -> Iterable[Sample]:
    """The samples with labels that are indices into their `own` names, as indices of the same names in `classes`.

    Labels stay as they are where either has no names. DataError if `classes` lacks a name, or if a label has none.
    """
    if own is None or classes is None or list(own) == list(classes):
        return samples
    unknown = [name for name in own if name not in classes]
    if unknown:
        raise DataError(
            f"{place} has the classes {', '.join(own)}, train has {', '.join(classes)}; expected none but those of "
            f"train, which lacks {unknown[0]!r}"
        )
    return _mapped(place, samples, [classes.index(name) for name in own])


def _mapped(place: str, samples: Iterable[Sample], places: Sequence[int]) -> Iterator[Sample]:
    for number, (value, label) in enumerate(samples):
        if not 0 <= label < len(places):
            raise DataError(
                f"{place}, sample {number}: found label {label}, expected 0..{len(places) - 1}, an index of its classes"
            )
        yield value, places[label]
