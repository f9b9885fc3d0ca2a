"""Task folders from Parquet files of pictures, as datasets on the Hugging Face hub are stored."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from apd.data.format import TaskInfo
from apd.data.packing.pictures import picture_bytes
from apd.data.packing.samples import Sample, given_classes, relabelled, stacked
from apd.data.rows import batches, opened
from apd.data.write import write_task
from apd.errors import DataError
from apd.state import Shape

ROWS = 256
"""Encoded pictures held at once."""


@dataclass(frozen=True, slots=True)
class PictureColumns:
    """Where the pictures and labels of a file are."""

    picture: str
    label: str
    classes: tuple[str, ...] | None
    """Names of the labels, if the file's metadata has them."""


def pack_parquet(
    train: Sequence[Path],
    folder: Path,
    name: str,
    validation: Sequence[Path] = (),
    test: Sequence[Path] = (),
    classes: Sequence[str] | None = None,
    *,
    input_shape: Shape,
    picture: str | None = None,
    label: str | None = None,
) -> TaskInfo:
    """Make `folder` a task from Parquet files with a picture column {bytes, path} and a column of whole-number labels.

    Each split may be in several files, which are read one after another. picture, label: names of the columns, needed
    where a file has several that could be meant. classes: names in label order; None takes those of the `huggingface`
    metadata of the first file of train, or else numbers. Labels of another file with names of its own are then those
    of the same names there. Pictures are converted and resized to input_shape (channels, height, width). DataError
    names file, column and row.
    """
    files = {"train": train, "validation": validation, "test": test}
    columns = {file: picture_columns(file, picture, label) for group in files.values() for file in group}
    names = columns[train[0]].classes if classes is None else given_classes(classes)

    def samples(file: Path) -> Iterable[Sample]:
        own = columns[file].classes if classes is None else None
        return relabelled(str(file), _samples(file, columns[file], input_shape), own, names)

    chunks = {split: stacked(split, chain(*map(samples, group))) for split, group in files.items() if group}
    return write_task(folder, name, chunks, names)


def picture_columns(file: Path, picture: str | None = None, label: str | None = None) -> PictureColumns:
    """Find the columns that are not given; DataError lists the candidates where they are none or several."""
    with file.open("rb") as source, opened(str(file), source) as parquet:
        schema = parquet.schema_arrow
    named = _class_names(schema)
    pictures = [column.name for column in schema if _holds_pictures(column.type)]
    numbers = [column.name for column in schema if pa.types.is_integer(column.type)]
    truths = [column.name for column in schema if pa.types.is_boolean(column.type)]
    likely = [column for column in numbers if column in named] or numbers or truths
    label = _chosen(file, schema, "label", label, numbers + truths, likely)
    return PictureColumns(_chosen(file, schema, "picture", picture, pictures, pictures), label, named.get(label))


def _samples(file: Path, columns: PictureColumns, input_shape: Shape) -> Iterator[Sample]:
    for row, (picture, label) in enumerate(_records(file, columns)):
        content = picture["bytes"] if isinstance(picture, dict) else picture
        place = f"{file}, column {columns.picture!r}, row {row}"
        if content is None or label is None:
            raise DataError(f"{place}: found no {'label' if label is None else 'picture bytes'}, expected one")
        yield picture_bytes(content, input_shape, place), label


def _records(file: Path, columns: PictureColumns) -> Iterator[tuple[Any, Any]]:
    """(picture, label) of each row as they are in the file."""
    with file.open("rb") as source, opened(str(file), source) as parquet:
        for batch in batches(str(file), parquet, ROWS, [columns.picture, columns.label]):
            for record in batch.to_pylist():
                yield record[columns.picture], record[columns.label]


def _chosen(
    file: Path, schema: pa.Schema, what: str, wanted: str | None, possible: list[str], likely: list[str]
) -> str:
    if wanted is not None and wanted in possible:
        return wanted
    if wanted is None and len(likely) == 1:
        return likely[0]
    problem = f"has no {what} column {wanted!r}" if wanted else f"has {len(likely)} columns that could be the {what}"
    kinds = ", ".join(f"{column.name} ({column.type!s:.60})" for column in schema)
    raise DataError(
        f"{file} {problem}; name one of: {', '.join(possible) or 'none is of a fitting type'}; its columns are {kinds}"
        "; expected pictures as their files' bytes, labels as whole numbers or truth values"
    )


def _holds_pictures(kind: pa.DataType) -> bool:
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return binary or (pa.types.is_struct(kind) and "bytes" in {part.name for part in kind})


def _class_names(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Class names by column, as the `huggingface` entry of the file's metadata gives them; none if it is odd."""
    try:
        content: Any = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    except (ValueError, RecursionError):
        return {}
    features = _entries(_entries(_entries(content).get("info")).get("features"))
    named = {column: _entries(feature).get("names") for column, feature in features.items()}
    return {
        column: tuple(names)
        for column, names in named.items()
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names)
    }


def _entries(value: Any) -> dict[str, Any]:
    """A JSON object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}
