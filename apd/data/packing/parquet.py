"""Task folders from Parquet files of pictures, as datasets on the Hugging Face hub are stored."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from apd.data.format import TaskInfo
from apd.data.packing.pictures import picture_bytes
from apd.data.packing.samples import Sample, stacked
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
    """Make `folder` a task from Parquet files with a picture column {bytes, path} and a whole-number label column.

    Each split may be in several files, which are read one after another. picture, label: names of the columns, needed
    where a file has several that could be meant. classes: names in label order; None takes those of the files'
    `huggingface` metadata, or else numbers. Pictures are converted and resized to input_shape (channels, height,
    width). DataError names file, column and row.
    """
    files = {"train": train, "validation": validation, "test": test}
    columns = {file: picture_columns(file, picture, label) for group in files.values() for file in group}
    if classes is None:
        classes = columns[train[0]].classes
    chunks = {
        split: stacked(split, (sample for file in group for sample in _samples(file, columns[file], input_shape)))
        for split, group in files.items()
        if group
    }
    return write_task(folder, name, chunks, classes)


def picture_columns(file: Path, picture: str | None = None, label: str | None = None) -> PictureColumns:
    """Find the columns that are not given; DataError lists the candidates where they are none or several."""
    with file.open("rb") as source, opened(str(file), source) as parquet:
        schema = parquet.schema_arrow
    named = _class_names(schema)
    pictures = [column.name for column in schema if _holds_pictures(column.type)]
    numbers = [column.name for column in schema if pa.types.is_integer(column.type)]
    label = _chosen(file, "label", label, numbers, [column for column in numbers if column in named] or numbers)
    return PictureColumns(_chosen(file, "picture", picture, pictures, pictures), label, named.get(label))


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


def _chosen(file: Path, what: str, wanted: str | None, possible: list[str], likely: list[str]) -> str:
    if wanted is not None and wanted in possible:
        return wanted
    if wanted is None and len(likely) == 1:
        return likely[0]
    problem = f"has no {what} column {wanted!r}" if wanted else f"has {len(likely)} columns that could be the {what}"
    raise DataError(f"{file} {problem}; name one of: {', '.join(possible) or 'none is of a fitting type'}")


def _holds_pictures(kind: pa.DataType) -> bool:
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return binary or (pa.types.is_struct(kind) and "bytes" in {part.name for part in kind})


def _class_names(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Class names by column, as the `huggingface` entry of the file's metadata gives them."""
    content: Any = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = content.get("info", {}).get("features", {})
    return {column: tuple(feature["names"]) for column, feature in features.items() if "names" in feature}
