"""A task in memory with its name: what the embedded and the official streams are made of."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from apd.data.format import TaskInfo
from apd.data.rows import Chunk, rows_at_once
from apd.data.splits import Samples, TaskData
from apd.data.write import write_task


@dataclass(frozen=True, slots=True, eq=False)
class NamedTask:
    """One task of a stream, ready to train on, or to be written as a task folder."""

    name: str
    classes: tuple[str, ...]
    """Names in label order."""
    data: TaskData

    def write(self, folder: Path) -> TaskInfo:
        """Write a task folder with all three splits."""
        splits = {
            "train": split_chunks(self.data.train),
            "validation": split_chunks(self.data.validation),
            "test": split_chunks(self.data.test),
        }
        return write_task(folder, self.name, splits, self.classes)


def split_chunks(split: Samples) -> Iterator[Chunk]:
    """A split's rows as arrays, one row group at a time."""
    for inputs, labels in split.chunks(rows_at_once(split.row_bytes)):
        yield inputs.numpy(), labels.numpy()
