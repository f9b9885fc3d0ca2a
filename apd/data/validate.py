"""A task folder is a task of this stream, or TaskRejected says what is wrong with it and where."""

import numpy as np

from apd.config import StreamConfig
from apd.data.format import METADATA, Folder, TaskInfo, read_info
from apd.data.rows import Array, Chunk, read_rows
from apd.errors import TaskRejected


def validate_task(folder: Folder, config: StreamConfig) -> TaskInfo:
    """Check a folder against the task format and the stream's input, reading every row but keeping none.

    TaskRejected names file, column and row, what was found there and what was expected.
    """
    info = read_info(folder)
    check_fits(info, config)
    counts = {split_name: _count_labels(folder, info, split_name) for split_name in info.files}
    check_counts(info, counts)
    _check_enough_to_hold_out(info, counts["train"])
    return info


def check_fits(info: TaskInfo, config: StreamConfig) -> None:
    """Raise TaskRejected unless the task's inputs are those the stream's network takes."""
    found, expected = (info.input_shape, info.input_dtype), (config.input_shape, config.input_dtype)
    if found != expected:
        raise TaskRejected(
            f"{METADATA}: inputs are {info.input_dtype} {list(info.input_shape)}, "
            f"but the stream takes {config.input_dtype} {list(config.input_shape)}"
        )


def check_chunk(file: str, first: int, chunk: Chunk, classes: int | None) -> None:
    """Raise TaskRejected if a label is no class index or an input not finite; row `first` is the chunk's first."""
    inputs, labels = chunk
    wrong = (labels < 0) | (labels >= (np.iinfo(np.int64).max if classes is None else classes))
    if wrong.any():
        row = int(wrong.argmax())
        expected = ">= 0" if classes is None else f"0..{classes - 1}, an index into {classes} class names"
        raise TaskRejected(f"{file}, column 'label', row {first + row}: found {labels[row]}, expected {expected}")
    if inputs.dtype == np.float32:
        bad = ~np.isfinite(inputs).reshape(len(inputs), -1)
        if bad.any():
            row, place = divmod(int(bad.argmax()), bad.shape[1])
            found = inputs.reshape(len(inputs), -1)[row, place]
            raise TaskRejected(
                f"{file}, column 'input', row {first + row}, value {place}: found {found}, expected a finite number"
            )


def check_counts(info: TaskInfo, counts: dict[str, Array]) -> None:
    """Raise TaskRejected if a split is empty or train holds a single class; counts are (classes,) samples per class."""
    for name, count in counts.items():
        if not count.sum():
            raise TaskRejected(f"{info.files[name]} has no rows; expected one at least")
    present = np.flatnonzero(counts["train"])
    if len(present) < 2:
        only = info.classes[present[0]]
        raise TaskRejected(f"{info.files['train']} holds only the class {only!r}; expected samples of two at least")


def _check_enough_to_hold_out(info: TaskInfo, counts: Array) -> None:
    missing = [name for name in ("validation", "test") if name not in info.files]
    if counts.max() < 1 + len(missing):
        raise TaskRejected(
            f"{info.files['train']} has no class with more than {counts.max()} samples; expected {1 + len(missing)} of "
            f"one class at least, because {' and '.join(missing)} must be held out of it"
        )


def _count_labels(folder: Folder, info: TaskInfo, name: str) -> Array:
    """(classes,) samples per class; every row is checked."""
    counts, first = np.zeros(len(info.classes), np.int64), 0
    for inputs, labels in read_rows(folder, info, name):
        check_chunk(info.files[name], first, (inputs, labels), len(info.classes))
        counts += np.bincount(labels, minlength=len(counts))
        first += len(labels)
    return counts
