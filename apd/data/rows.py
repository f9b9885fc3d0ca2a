"""The Parquet files of a task, a bounded number of rows at a time, reading and writing."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from apd.data.format import Folder, TaskInfo
from apd.errors import TaskRejected

Array = npt.NDArray[Any]
Chunk = tuple[Array, Array]
"""Inputs (n, *input_shape), uint8 or float32, and labels (n,) int64."""

MAX_ROWS = 4096
MAX_BYTES = 16 * 2**20
"""Of one row group's inputs, and so about what writing a task holds at once."""

PIECE = 2**20
"""Bytes of inputs that are read at once. Arrow needs 18 times that while it decodes uint8: Parquet stores 32-bit
integers, and levels beside them. Larger pieces were not faster."""


def rows_at_once(row_bytes: int) -> int:
    """Rows of one row group."""
    return max(1, min(MAX_ROWS, MAX_BYTES // row_bytes))


def schema_of(row_size: int, input_dtype: str) -> pa.Schema:
    """The two columns of a task with this many values in an input."""
    value = pa.field("item", pa.from_numpy_dtype(np.dtype(input_dtype)), nullable=False)
    return pa.schema(
        [pa.field("input", pa.list_(value, row_size), nullable=False), pa.field("label", pa.int64(), nullable=False)]
    )


def write_rows(path: Path, chunks: Iterable[Chunk], row_size: int, input_dtype: str) -> None:
    """One row group per chunk."""
    schema = schema_of(row_size, input_dtype)
    # Arrow would take a path that begins with ~ for one at home, and one with a colon for a URI
    with (
        path.open("wb") as file,
        pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for inputs, labels in chunks:
            values = pa.array(np.ascontiguousarray(inputs).reshape(-1))
            columns = [pa.FixedSizeListArray.from_arrays(values, type=schema.field("input").type), pa.array(labels)]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def read_rows(folder: Folder, info: TaskInfo, split: str) -> Iterator[Chunk]:
    """Every row of a split's file, in order. TaskRejected if its columns are not those of the format."""
    file = info.files[split]
    with folder.open(file) as source, opened(file, source) as parquet:
        _check_columns(file, parquet.schema_arrow, schema_of(info.row_size, info.input_dtype))
        first = 0
        for batch in batches(file, parquet, max(1, min(MAX_ROWS, PIECE // info.row_bytes))):
            yield _arrays(file, first, batch, info)
            first += len(batch)


def count_rows(folder: Folder, info: TaskInfo, split: str) -> int:
    """Rows of a split's file, from its footer."""
    with folder.open(info.files[split]) as source, opened(info.files[split], source) as parquet:
        return int(parquet.metadata.num_rows)


@contextmanager
def opened(file: str, source: Any) -> Iterator[pq.ParquetFile]:
    """A Parquet file to read in bounded memory; TaskRejected names `file` if it is damaged or none."""
    with _damage_rejected(file):
        # unbuffered reading would hold whole column chunks of whatever row groups another writer made
        parquet = pq.ParquetFile(source, buffer_size=2**20, pre_buffer=False, page_checksum_verification=True)
    with parquet:
        yield parquet


def batches(
    file: str, parquet: pq.ParquetFile, rows: int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """So many rows at a time; TaskRejected names `file` if they cannot be decoded.

    Arrow's own threads would win nothing, and one that lets go of a Python object while the interpreter ends aborts it.
    """
    found = parquet.iter_batches(rows, columns=columns, use_threads=False)
    while True:
        with _damage_rejected(file):
            batch = next(found, None)
        if batch is None:
            return
        yield batch


@contextmanager
def _damage_rejected(file: str) -> Iterator[None]:
    try:
        yield
    except MemoryError:  # Arrow's own is an ArrowException as well
        raise
    except (pa.ArrowException, UnicodeDecodeError) as error:  # the latter from a damaged name of a column
        raise TaskRejected(f"{file} is not a readable Parquet file: {error}") from None
    except OSError as error:
        # Arrow's complaints about content are just this, without a number; all others are of a disk or a network
        if type(error) is not OSError or error.errno is not None:
            raise
        raise TaskRejected(f"{file} is not a readable Parquet file: {error}") from None


def _check_columns(file: str, found: pa.Schema, expected: pa.Schema) -> None:
    if sorted(found.names) != sorted(expected.names):
        raise TaskRejected(f"{file} has columns {found.names} but must have exactly {expected.names}")
    for column in expected:
        kind = found.field(column.name).type
        if not _same_type(kind, column.type):
            raise TaskRejected(f"{file}, column {column.name!r} is {kind} but must be {column.type}")


def _same_type(found: pa.DataType, expected: pa.DataType) -> bool:
    """Equal but for the name and nullability of list items, which writers choose."""
    if pa.types.is_fixed_size_list(found) and pa.types.is_fixed_size_list(expected):
        return bool(found.list_size == expected.list_size and found.value_type == expected.value_type)
    return bool(found == expected)


def _arrays(file: str, first: int, batch: pa.RecordBatch, info: TaskInfo) -> Chunk:
    inputs, labels = batch.column("input"), batch.column("label")
    for name, column in (("input", inputs), ("label", labels)):
        if column.null_count:
            row = first + column.is_null().to_numpy(zero_copy_only=False).argmax()
            raise TaskRejected(f"{file}, column {name!r}, row {row}: found null, expected a value")
    values = inputs.flatten()
    if values.null_count:
        row = first + values.is_null().to_numpy(zero_copy_only=False).argmax() // info.row_size
        raise TaskRejected(
            f"{file}, column 'input', row {row}: found null among its values, expected {info.input_dtype}"
        )
    return values.to_numpy().reshape(len(batch), *info.input_shape), labels.to_numpy()
