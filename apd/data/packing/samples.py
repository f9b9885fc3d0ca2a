"""What packers share: names of splits, and samples gathered into chunks so that one row group is held at most."""

from collections.abc import Iterable, Iterator

import numpy as np

from apd.data.rows import Array, Chunk, rows_at_once
from apd.errors import DataError

ALIASES = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}
"""What files and folders call the splits."""
Sample = tuple[Array, int]
"""One input and its label."""


def stacked(place: str, samples: Iterable[Sample]) -> Iterator[Chunk]:
    """Samples of one shape and dtype, as chunks of one row group each; DataError names the first that differs."""
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
