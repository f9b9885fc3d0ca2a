"""Samples on this machine's disk: a task that is larger than memory is trained from there, to the same bits.

Its Parquet files are read once, some rows at a time, into one file that holds the inputs alone, uncompressed and
row-major. Every row then has a place, so any order of rows can be read, and the order is that of samples in memory:
where a task's data were changes nothing in the outcome. What stays in memory is one batch, and 16 bytes per sample (its
label and its place). The file has no name, so it goes with the process, however that ends.

What it costs: a picture of 3 kB takes 0.03 ms to read, where from memory it takes 0.003, beside 1.3 ms of training with
LeNet (one busy core); and the task's first reading, which memory would need as well.
"""

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from torch import Tensor

from apd.config import Dtype
from apd.data.rows import Array, Chunk
from apd.data.splits import Samples
from apd.errors import DataError
from apd.state import Shape


class Rows:
    """Inputs in a file without a name, in the folder for temporary files (TMPDIR)."""

    def __init__(self, shape: Shape, dtype: Dtype) -> None:
        """shape: of one input."""
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.row_bytes = prod(shape) * self.dtype.itemsize
        self._file, path = tempfile.mkstemp(prefix="apd-rows-")
        weakref.finalize(self, os.close, self._file)
        os.unlink(path)

    def append(self, inputs: Array) -> None:
        """Write (n, *shape) after what is there. Raises DataError when the disk is full."""
        left = np.ascontiguousarray(inputs).data.cast("B")
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            raise DataError(f"the task's samples cannot be kept on disk: {error.strerror}; {ADVICE}") from error

    def read(self, rows: Tensor) -> Tensor:
        """The inputs at these indices, (n,) int64: (n, *shape), in memory."""
        found = np.empty((len(rows), *self.shape), self.dtype)
        places = found.view(np.uint8).reshape(len(rows), self.row_bytes)
        for place, row in zip(places, rows.tolist(), strict=True):
            count = os.preadv(self._file, [place.data], row * self.row_bytes)
            if count != self.row_bytes:
                raise DataError(f"row {row} of the samples on disk has {count} bytes, expected {self.row_bytes}")
        return torch.from_numpy(found)


ADVICE = "let TMPDIR name a folder on a larger disk, or raise the stream's resources.data_in_memory"


@dataclass(frozen=True, slots=True, eq=False)
class SpooledSplit(Samples):
    """Samples whose inputs are in a file."""

    inputs: Rows
    rows: Tensor
    """(N,) int64 on the CPU: where each sample's input is."""
    labels: Tensor

    @property
    def row_bytes(self) -> int:
        """Size of one input."""
        return self.inputs.row_bytes

    def pick(self, rows: Tensor) -> Tensor:
        """Read these rows, each with one request to the disk."""
        return self.inputs.read(self.rows[rows.cpu()]).to(self.labels.device)

    def take(self, rows: Tensor) -> "SpooledSplit":
        """These samples; nothing is read."""
        return SpooledSplit(self.inputs, self.rows[rows.cpu()], self.labels[rows.to(self.labels.device)])

    def to(self, device: str | torch.device) -> "SpooledSplit":
        """The same samples, handed out on another device."""
        return replace(self, labels=self.labels.to(device))


def spool(chunks: Iterable[Chunk], count: int, shape: Shape, dtype: Dtype) -> SpooledSplit:
    """Write the chunks' inputs, `count` rows in all, to disk as they come."""
    inputs, labels, first = Rows(shape, dtype), torch.empty(count, dtype=torch.int64), 0
    for chunk_inputs, chunk_labels in chunks:
        inputs.append(chunk_inputs)
        labels.numpy()[first : first + len(chunk_labels)] = chunk_labels
        first += len(chunk_labels)
    return SpooledSplit(inputs, torch.arange(count), labels)


def check_room(needed: int) -> None:
    """Raise DataError unless so many bytes fit on the disk for temporary files."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"the task's samples take {needed:,} bytes, more than may be held in memory, and {folder} has room for "
            f"{free:,}; {ADVICE}"
        )
