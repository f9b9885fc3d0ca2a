"""Task folders from Parquet files of pictures, as datasets on the Hugging Face hub are stored."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from apd.data.format import TaskInfo
from apd.data.packing.pictures import picture_bytes
from apd.data.packing.samples import Sample, given_classes, relabelled, stacked
from apd.data.rows import MAX_ROWS, batches, opened
from apd.data.write import write_task
from apd.errors import DataError
from apd.state import Shape

ROWS = 256
"""Encoded pictures held at once."""

LABELS = ("label", "labels", "class", "target")
"""What columns of strings that are labels are often called; of several others one has to be named."""


@dataclass(frozen=True, slots=True)
class PictureColumns:
    """Where the pictures and labels of a file are."""

    picture: str
    label: str
    classes: tuple[str, ...] | None
    """Names of the labels: of a column of strings those in it, ascending; else what the file's metadata has."""
    named: bool
    """Whether the labels are names themselves."""


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
    """Make `folder` a task from Parquet files with a picture column {bytes, path} and a column of labels.

    Each split may be in several files, which are read one after another. picture, label: names of the columns, needed
    where a file has several that could be meant. Labels are strings, whole numbers or truth values. classes: names in
    label order; None takes the strings in train, ascending, or the names in the `huggingface` metadata of its first
    file, or else numbers. Labels of another file with names of its own are then those of the same names there. Pictures
    are converted and resized to input_shape (channels, height, width). DataError names file, column and row.
    """
    files = {"train": train, "validation": validation, "test": test}
    columns = {file: picture_columns(file, picture, label) for group in files.values() for file in group}
    names = _names_in(train, columns) if classes is None else given_classes(classes)

    def samples(file: Path) -> Iterable[Sample]:
        own = columns[file].classes if classes is None or columns[file].named else None
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
    texts = [column.name for column in schema if _holds_strings(column.type)]
    likely = likely or [column for column in texts if column in LABELS] or texts
    label = _chosen(file, schema, "label", label, numbers + truths + texts, likely)
    classes = _strings_in(file, label) if label in texts else named.get(label)
    return PictureColumns(
        _chosen(file, schema, "picture", picture, pictures, pictures), label, classes, named=label in texts
    )


def _names_in(train: Sequence[Path], columns: Mapping[Path, PictureColumns]) -> Sequence[str] | None:
    """The classes of all files of train together; those of the first one, unless labels are names."""
    found = [columns[file] for file in train]
    if len({one.named for one in found}) > 1:
        kinds = ", ".join(f"{file} has {'names' if columns[file].named else 'numbers'}" for file in train)
        raise DataError(f"labels are of different kinds: {kinds}; expected one kind in all files of train")
    return sorted({name for one in found for name in one.classes or ()}) if found[0].named else found[0].classes


def _strings_in(file: Path, label: str) -> tuple[str, ...]:
    """What occurs in a column of strings, ascending."""
    found: set[str] = set()
    with file.open("rb") as source, opened(str(file), source) as parquet:
        for batch in batches(str(file), parquet, MAX_ROWS, [label]):
            found.update(batch.column(label).unique().drop_null().to_pylist())
    return tuple(sorted(found))


def _samples(file: Path, columns: PictureColumns, input_shape: Shape) -> Iterator[Sample]:
    place_of = {name: place for place, name in enumerate(columns.classes or ())} if columns.named else {}
    for row, (picture, label) in enumerate(_records(file, columns)):
        content = picture["bytes"] if isinstance(picture, dict) else picture
        place = f"{file}, column {columns.picture!r}, row {row}"
        if content is None or label is None:
            raise DataError(f"{place}: found no {'label' if label is None else 'picture bytes'}, expected one")
        yield picture_bytes(content, input_shape, place), place_of[label] if columns.named else label


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
        "; expected pictures as their files' bytes, labels as strings, whole numbers or truth values"
    )


def _holds_pictures(kind: pa.DataType) -> bool:
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return binary or (pa.types.is_struct(kind) and "bytes" in {part.name for part in kind})


def _holds_strings(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(is_kind(value) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


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
