"""Write a task folder: rows first, as a stream of chunks, and `task.json` last."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from math import prod
from pathlib import Path

import numpy as np

from apd.config import Dtype
from apd.data.format import METADATA, SPLITS, TaskInfo, check_name
from apd.data.rows import Chunk, write_rows
from apd.data.validate import check_chunk, check_counts
from apd.errors import DataError
from apd.state import Shape


def write_task(
    folder: Path, name: str, splits: Mapping[str, Iterable[Chunk]], classes: Sequence[str] | None = None
) -> TaskInfo:
    """Make `folder` a task whose inputs have the shape and dtype of the first chunk of train.

    splits: chunks of rows by split ("train", "validation", "test"), each consumed once and never held together.
    classes: names in label order; None names them by their numbers. What an interrupted call leaves behind has no
    `task.json`, and the next call overwrites it. DataError if the folder holds anything else, which is not touched, or
    if rows break the format.
    """
    check_name(name)
    if "train" not in splits:
        raise DataError(f"task {name!r} has splits {sorted(splits)}; expected train at least")
    streams = {split: _begun(split, splits[split]) for split in SPLITS if split in splits}
    shape, dtype = _kind_of_input(streams["train"][0])
    if classes is not None:
        TaskInfo(name, tuple(classes), shape, dtype)  # refuses wrong class names before anything is written
    _clear(folder)
    counts: dict[str, Counter[int]] = {}
    for split, (head, rest) in streams.items():
        counts[split] = Counter()
        checked = _checked(f"{split}.parquet", chain([head], rest), shape, dtype, classes, counts[split])
        write_rows(_partial(folder / f"{split}.parquet"), checked, prod(shape), dtype)
    names = tuple(_numbered(counts) if classes is None else classes)
    info = TaskInfo(name, names, shape, dtype, {split: f"{split}.parquet" for split in counts})
    labels = range(len(names))
    check_counts(info, {split: np.array([found[label] for label in labels]) for split, found in counts.items()})
    _finish(folder, info)
    return info


def unfinish(folder: Path) -> None:
    """Make a task that was just written what an interrupted call leaves behind."""
    os.replace(folder / METADATA, _partial(folder / METADATA))


def _begun(split: str, chunks: Iterable[Chunk]) -> tuple[Chunk, Iterator[Chunk]]:
    """The first chunk and the others."""
    rest = iter(chunks)
    head = next(rest, None)
    if head is None or not len(head[1]):
        raise DataError(f"{split} has no samples; expected one at least")
    return head, rest


def _kind_of_input(chunk: Chunk) -> tuple[Shape, Dtype]:
    inputs = chunk[0]
    if inputs.dtype == np.uint8:
        return inputs.shape[1:], "uint8"
    if inputs.dtype == np.float32:
        return inputs.shape[1:], "float32"
    raise DataError(f"inputs are {inputs.dtype} but must be uint8 or float32")


def _partial(path: Path) -> Path:
    """What a file is called until the task is whole; nobody else names files like this."""
    return path.with_name(f"{path.name}.partial")


def _clear(folder: Path) -> None:
    """Make the folder, without what an interrupted call left in it.

    A split has its final name only once `task.json.partial` is there: without that it is somebody's own file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    splits, metadata = [folder / f"{split}.parquet" for split in SPLITS], _partial(folder / METADATA)
    leftovers = {*map(_partial, splits), metadata} | (set(splits) if metadata.exists() else set())
    found = set(folder.iterdir())
    if found - leftovers:
        foreign = min(path.name for path in found - leftovers)
        raise DataError(f"folder {folder} holds {foreign!r}; expected a new or empty folder for a task")
    for path in sorted(found - {metadata}):
        path.unlink()
    metadata.unlink(missing_ok=True)


def _checked(
    file: str, chunks: Iterable[Chunk], shape: Shape, dtype: Dtype, classes: Sequence[str] | None, counts: Counter[int]
) -> Iterator[Chunk]:
    """The same chunks; every row is checked and counted by label on its way."""
    first = 0
    for inputs, labels in chunks:
        if inputs.shape[1:] != shape or inputs.dtype != dtype:
            found = f"{inputs.dtype} {inputs.shape[1:]}"
            raise DataError(f"{file}, column 'input', row {first}: found {found}, expected {dtype} {shape} as before")
        check_chunk(file, first, (inputs, labels), None if classes is None else len(classes))
        counts.update(labels.tolist())
        yield inputs, labels
        first += len(labels)


def _numbered(counts: Mapping[str, Counter[int]]) -> list[str]:
    """Names "0", "1", ... of labels that leave no number out."""
    found = sorted(set().union(*counts.values()))
    if found != list(range(len(found))):
        shown = f"{len(found)} labels from {found[0]} to {found[-1]}"
        raise DataError(f"found {shown}; expected 0..{len(found) - 1} without gaps, or names for all classes")
    return [str(label) for label in found]


def _finish(folder: Path, info: TaskInfo) -> None:
    """Give the files their names; `task.json` appears last, with all content or not at all."""
    metadata = folder / METADATA
    _partial(metadata).write_text(json.dumps(info.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name in [*info.files.values(), METADATA]:
        os.replace(_partial(folder / name), folder / name)
