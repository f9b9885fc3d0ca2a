"""Every format the store writes, byte by byte, and the only code that knows them. Nothing stored is ever unpickled.

Document (every .json object of the stream, and JSON blobs). ASCII JSON without spaces, keys sorted, of one object
with four members:

    body     the content
    kind     what it is: "stream", "head", "version", "record", "arrival", "name", "evaluation", "clustering", ...
    schema   version of the kind's format, a whole number from 1; this release reads and writes SCHEMA
    sha256   hexadecimal SHA-256 of the same JSON object without this member

Reading encodes what was parsed and compares with the bytes read, so any changed bit is found. These four members never
change; a `schema` that this release does not know is refused with UnknownSchema, once the digest is checked.

Dense tensors (sigma, masks, private tensors, statistics): a safetensors file, that is: length of the header, 8 bytes,
little endian; a JSON header with dtype, shape and byte range of every tensor; the values, little endian, row-major. The
header's `__metadata__` has one entry, "apd": compact JSON {"owner": ..., "schema": 1}, where owner says for which
commit and task it was written. (One entry, because safetensors writes several in random order and equal content must
have equal bytes.)

Sparse tensors (tau, sigma_g, steps and deltas of sigma): one Parquet file, one row per non-zero, sorted by parameter,
then index:

    parameter  int32    position of the tensor's name in "names"            dictionary encoded
    index      int64    row-major flat index, increasing within a tensor    DELTA_BINARY_PACKED
    value      float32                                                      BYTE_STREAM_SPLIT

All columns are zstd-compressed (level 19) and free of nulls. The file's key-value metadata has the entry "apd":
compact JSON {"names": [...], "owner": ..., "schema": 1, "shapes": [[...], ...]}; a tensor without non-zeros has a
name and no rows.

Tables (older entries of a version): one Parquet file with a single string column "entry", each a compact JSON object,
zstd; metadata entry "apd": {"owner": ..., "schema": 1}.

Snapshots of attempts: a safetensors file as above whose `__metadata__` entry "apd" is compact JSON {"schema": 1,
"sha256": ..., "values": {...}}; the digest is that of the file with 64 zeros in the digest's own place.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from apd.errors import ApdError, CorruptObject, StateError, UnknownSchema
from apd.state import Sparse, SparseTensors, Tensors

JSON = Any
"""Numbers, strings, booleans, null, lists and string-keyed objects of them."""

SCHEMA = 1
"""Newest format of every kind that this release reads and writes."""

NO_DIGEST = "0" * 64

DOCUMENT, PARQUET = b'{"body":', b"PAR1"
"""How a document and a Parquet file begin; a safetensors file begins with the length of its header in 8 bytes."""

RESTORE = "restore it from a copy of the stream; `apd verify` names all that is damaged"


def digest_of(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def compact(value: JSON) -> bytes:
    """The one encoding of a JSON value: sorted keys, no spaces, ASCII. Raises StateError for other values, NaN too."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise StateError(f"only JSON values can be stored, and no NaN or infinity: {error}") from None


def encode_document(kind: str, body: JSON, schema: int = SCHEMA) -> bytes:
    """A document that proves its own integrity."""
    content = {"body": body, "kind": kind, "schema": schema}
    return compact(content | {"sha256": digest_of(compact(content))})


def decode_document(kind: str, data: bytes, where: str) -> JSON:
    """The body. Raises CorruptObject or UnknownSchema naming `where`."""
    try:
        content = json.loads(data)
        claimed = content.pop("sha256")
        body, found, schema = content["body"], content["kind"], content["schema"]
        intact = digest_of(compact(content)) == claimed and compact(content | {"sha256": claimed}) == data
    except (ValueError, KeyError, TypeError, AttributeError, StateError) as error:
        raise CorruptObject(
            f"{where}, {len(data)} bytes, is not a document of this store ({type(error).__name__}: {error}); {RESTORE}"
        ) from None
    if not intact:
        raise CorruptObject(
            f"{where} does not match its own SHA-256 {claimed}: its bytes have changed since it was written; {RESTORE}"
        )
    if found != kind:
        raise CorruptObject(f"{where} holds a {found!r} document where a {kind!r} is expected")
    check_schema(schema, where)
    return body


def check_schema(schema: int, where: str) -> None:
    """Raise UnknownSchema unless this release reads that schema."""
    if schema != SCHEMA:
        raise UnknownSchema(f"{where} has schema {schema}, this release reads {SCHEMA}; use the release that wrote it")


def encode_tensors(tensors: Tensors, owner: JSON) -> bytes:
    """Dense tensors of any dtype as safetensors."""
    return _save(tensors, {"owner": owner, "schema": SCHEMA})


def decode_tensors(data: bytes, where: str) -> dict[str, torch.Tensor]:
    """The inverse of `encode_tensors`. Raises CorruptObject or UnknownSchema naming `where`."""
    check_schema(_header(data, where, "schema")["schema"], where)
    return _load(data, where)


def encode_snapshot(tensors: Tensors, values: Mapping[str, JSON]) -> bytes:
    """Tensors and JSON values in one safetensors file that proves its own integrity."""
    blank = _save(tensors, {"schema": SCHEMA, "sha256": NO_DIGEST, "values": dict(values)})
    return _with_digest(blank, NO_DIGEST, digest_of(blank))


def decode_snapshot(data: bytes, where: str) -> tuple[dict[str, torch.Tensor], dict[str, JSON]]:
    """The inverse of `encode_snapshot`. Raises CorruptObject or UnknownSchema naming `where`."""
    described = _header(data, where, "schema", "sha256", "values")
    claimed = str(described["sha256"])
    if digest_of(_with_digest(data, claimed, NO_DIGEST)) != claimed:
        raise CorruptObject(
            f"{where} does not match its own SHA-256 {claimed}: its bytes have changed since it was written; {RESTORE}"
        )
    check_schema(described["schema"], where)
    return _load(data, where), described["values"]


def _with_digest(data: bytes, old: str, new: str) -> bytes:
    return data.replace(f'\\"sha256\\":\\"{old}\\"'.encode(), f'\\"sha256\\":\\"{new}\\"'.encode(), 1)


def _save(tensors: Tensors, described: JSON) -> bytes:
    ready, seen = {}, set()
    for name, tensor in tensors.items():
        plain = tensor.detach().to("cpu").contiguous()
        memory = plain.untyped_storage().data_ptr()
        ready[name] = plain.clone() if memory in seen else plain  # safetensors refuses tensors that share memory
        seen.add(memory)
    return save(ready, metadata={"apd": compact(described).decode()})


def _load(data: bytes, where: str) -> dict[str, torch.Tensor]:
    """By name: safetensors hands them out in another order in every process, and sums of floats would follow it."""
    try:
        return dict(sorted(load(data).items()))
    except (SafetensorError, ValueError) as error:
        raise CorruptObject(f"{where} is not a safetensors file: {error}") from None


def _header(data: bytes, where: str, *members: str) -> dict[str, JSON]:
    """What the file says of itself, with these members at least."""
    try:
        length = int.from_bytes(data[:8], "little")
        described = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["apd"])
        return {member: described[member] for member in members}
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptObject(f"{where} is not a safetensors file of this store: {error!r}") from None


def encode_sparse(tensors: SparseTensors, owner: JSON) -> bytes:
    """Sparse tensors as Parquet."""
    names = sorted(tensors)
    parts = [tensors[name] for name in names]
    columns = {
        "parameter": pa.array(np.repeat(np.arange(len(parts), dtype=np.int32), [part.nnz for part in parts])),
        "index": pa.array(np.concatenate([part.indices.numpy() for part in parts] or [np.zeros(0, np.int64)])),
        "value": pa.array(np.concatenate([part.values.numpy() for part in parts] or [np.zeros(0, np.float32)])),
    }
    described = {"names": names, "owner": owner, "schema": SCHEMA, "shapes": [list(part.shape) for part in parts]}
    encodings = {"index": "DELTA_BINARY_PACKED", "value": "BYTE_STREAM_SPLIT"}
    return _write_parquet(columns, described, use_dictionary=["parameter"], column_encoding=encodings)


def decode_sparse(data: bytes, where: str) -> dict[str, Sparse]:
    """The inverse of `encode_sparse`. Raises CorruptObject or UnknownSchema naming `where`."""
    table, described = _read_parquet(data, where)
    try:
        parameter, index, value = (table[name].to_numpy() for name in ("parameter", "index", "value"))
        names, shapes = described["names"], [tuple(shape) for shape in described["shapes"]]
        ends = np.searchsorted(parameter, np.arange(len(names) + 1))
        return {
            name: Sparse(shape, torch.tensor(index[start:end]), torch.tensor(value[start:end]))
            for name, shape, start, end in zip(names, shapes, ends, ends[1:], strict=False)
        }
    except (ApdError, KeyError, TypeError, ValueError) as error:
        raise CorruptObject(f"{where} does not hold sparse tensors: {error}") from None


def encode_table(rows: Sequence[JSON], owner: JSON) -> bytes:
    """JSON objects as a Parquet table."""
    column = pa.array([compact(row).decode() for row in rows], pa.string())
    return _write_parquet({"entry": column}, {"owner": owner, "schema": SCHEMA})


def decode_table(data: bytes, where: str) -> list[JSON]:
    """The inverse of `encode_table`. Raises CorruptObject or UnknownSchema naming `where`."""
    table, _ = _read_parquet(data, where)
    try:
        return [json.loads(row) for row in table["entry"].to_pylist()]
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptObject(f"{where} does not hold a table of entries: {error}") from None


def owner_of(file: BinaryIO) -> dict[str, JSON]:
    """For which commit, and for which task's arrival if it is one's alone, a blob was written; nothing if damaged."""
    try:
        start = file.read(len(DOCUMENT))
        if start == DOCUMENT:
            owner = json.loads(start + file.read())["body"]
        elif start.startswith(PARQUET):
            owner = json.loads(pq.ParquetFile(file, pre_buffer=False).metadata.metadata[b"apd"])["owner"]
        else:
            described = json.loads(file.read(int.from_bytes(start, "little")))
            owner = json.loads(described["__metadata__"]["apd"])["owner"]
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
        return {}
    return dict(owner)


def _write_parquet(columns: Mapping[str, pa.Array], described: JSON, **options: Any) -> bytes:
    table, sink = pa.table(dict(columns)), io.BytesIO()
    settings = {"compression": "zstd", "compression_level": 19, "write_statistics": False, "store_schema": False}
    with pq.ParquetWriter(sink, table.schema, **({"use_dictionary": False} | settings | options)) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"apd": compact(described).decode()})
    return sink.getvalue()


def _read_parquet(data: bytes, where: str) -> tuple[Any, dict[str, JSON]]:
    try:
        # a thread of Arrow's that lets go of `data` while the interpreter ends aborts it: none is begun
        file = pq.ParquetFile(io.BytesIO(data), pre_buffer=False)
        described = json.loads(file.metadata.metadata[b"apd"])
        schema, table = described["schema"], file.read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptObject(f"{where} is not a Parquet file of this store: {error}") from None
    check_schema(schema, where)
    return table, described
