"""The formats: exact inverses, stable bytes, small, and no changed bit goes unnoticed."""

import io
import json

import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load

from apd.errors import CorruptObject, StateError, UnknownSchema
from apd.state import Sparse
from apd.store import formats
from apd.store.formats import (
    decode_document,
    decode_snapshot,
    decode_sparse,
    decode_table,
    decode_tensors,
    encode_document,
    encode_snapshot,
    encode_sparse,
    encode_table,
    encode_tensors,
)
from tests.store.same import same_sparse, same_tensors

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON_VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool)
TENSORS = {str(dtype): torch.arange(6).reshape(2, 3).to(dtype) for dtype in DTYPES} | {
    "scalar": torch.tensor(3),
    "empty": torch.zeros(0, 4),
    "transposed": torch.arange(6.0).reshape(2, 3).t(),
    "special": torch.tensor([float("nan"), float("inf"), -0.0]),
}


@st.composite
def sparse_tensors(draw: st.DrawFn) -> dict[str, Sparse]:
    names = draw(st.lists(st.text(min_size=1), unique=True, max_size=4))
    return {name: draw(sparse_tensor()) for name in names}


@st.composite
def sparse_tensor(draw: st.DrawFn) -> Sparse:
    shape = draw(st.sampled_from([(3,), (4, 5), (2, 3, 1), (70000,), (0, 3)]))
    size = torch.Size(shape).numel()
    indices = sorted(draw(st.sets(st.integers(0, size - 1), max_size=20))) if size else []
    values = draw(st.lists(st.floats(width=32), min_size=len(indices), max_size=len(indices)))
    return Sparse(shape, torch.tensor(indices, dtype=torch.int64), torch.tensor(values, dtype=torch.float32))


@settings(max_examples=50, deadline=None)
@given(JSON_VALUES)
def test_documents_are_read_as_written(body: object) -> None:
    assert decode_document("kind", encode_document("kind", body), "here") == body


def test_tensors_of_every_dtype_are_read_as_written() -> None:
    assert same_tensors(decode_tensors(encode_tensors(TENSORS, {"task": "a"}), "here"), TENSORS)


@settings(max_examples=50, deadline=None)
@given(sparse_tensors())
def test_sparse_tensors_are_read_as_written(tensors: dict[str, Sparse]) -> None:
    assert same_sparse(decode_sparse(encode_sparse(tensors, None), "here"), tensors)


def test_tables_and_snapshots_are_read_as_written() -> None:
    rows = [{"name": "a", "x": [1, None]}, {"name": "b"}]
    assert decode_table(encode_table(rows, None), "here") == rows
    assert decode_table(encode_table([], None), "here") == []
    tensors, values = decode_snapshot(encode_snapshot(TENSORS, {"epoch": 3}), "here")
    assert same_tensors(tensors, TENSORS)
    assert values == {"epoch": 3}


def test_tensors_that_share_memory_are_written_each() -> None:
    whole = torch.arange(6.0)
    tensors = {"whole": whole, "same": whole, "part": whole[2:4], "shaped": whole.reshape(2, 3)}
    assert same_tensors(decode_tensors(encode_tensors(tensors, None), "here"), tensors)


def test_equal_content_has_equal_bytes() -> None:
    for encode in (
        lambda: encode_tensors(dict(reversed(TENSORS.items())), {"b": 1, "a": 2}),
        lambda: encode_snapshot(TENSORS, {"b": 1, "a": 2}),
        lambda: encode_sparse({"w": Sparse.from_dense(torch.eye(3))}, {"b": 1, "a": 2}),
    ):
        assert len({encode() for _ in range(5)}) == 1


def test_the_bytes_of_a_document_are_these() -> None:
    assert encode_document("head", {"number": 7}) == (
        b'{"body":{"number":7},"kind":"head","schema":1,'
        b'"sha256":"1166fa4ca5847c99a080cf1fe7b0f09511cc0bd148281c2ec7f2126b80da8039"}'
    )


def test_dense_tensors_are_plain_safetensors() -> None:
    data = encode_tensors({"w": torch.tensor([1.0, 2.0])}, {"commit": "c"})
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert header["__metadata__"] == {"apd": '{"owner":{"commit":"c"},"schema":1}'}
    assert header["w"] == {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    assert data[8 + length :] == b"\x00\x00\x80\x3f\x00\x00\x00\x40"
    assert load(data)["w"].tolist() == [1.0, 2.0]


def test_tensors_come_in_the_order_of_their_names() -> None:
    tensors = {f"t{number}": torch.zeros(1) for number in range(30, 10, -1)}
    assert list(decode_tensors(encode_tensors(tensors, {}), "here")) == sorted(tensors)
    assert list(decode_snapshot(encode_snapshot(tensors, {}), "here")[0]) == sorted(tensors)


def test_sparse_tensors_are_plain_parquet() -> None:
    data = encode_sparse({"w": Sparse.from_dense(torch.tensor([[0.0, 5.0], [0.0, 7.0]]))}, None)
    file = pq.ParquetFile(io.BytesIO(data))
    assert file.read().to_pydict() == {"parameter": [0, 0], "index": [1, 3], "value": [5.0, 7.0]}
    assert json.loads(file.metadata.metadata[b"apd"]) == {
        "names": ["w"],
        "owner": None,
        "schema": 1,
        "shapes": [[2, 2]],
    }
    columns = [file.metadata.row_group(0).column(number) for number in range(3)]
    assert {column.compression for column in columns} == {"ZSTD"}
    assert "RLE_DICTIONARY" in columns[0].encodings
    assert "DELTA_BINARY_PACKED" in columns[1].encodings
    assert "BYTE_STREAM_SPLIT" in columns[2].encodings


@pytest.mark.parametrize(("density", "most"), [(0.01, 4.8), (0.02, 4.6), (0.001, 6.0)])
def test_a_non_zero_of_tau_takes_less_than_six_bytes(density: float, most: float) -> None:
    generator = torch.Generator().manual_seed(0)
    dense = 0.05 * torch.randn(800, 1000, generator=generator)
    kept = torch.rand(dense.shape, generator=generator) < density
    tau = {"w": Sparse.from_dense(dense * kept)}
    assert len(encode_sparse(tau, None)) / tau["w"].nnz < most


def flips(data: bytes) -> list[bytes]:
    """The data with each byte in turn changed in one bit."""
    return [data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :] for at in range(len(data))]


def test_every_flipped_bit_of_a_document_is_found() -> None:
    for broken in flips(encode_document("head", {"number": 7, "text": "a"})):
        with pytest.raises(CorruptObject, match="here"):
            decode_document("head", broken, "here")


def test_every_flipped_bit_of_a_snapshot_is_found() -> None:
    for broken in flips(encode_snapshot({"w": torch.tensor([1.0, 2.0])}, {"epoch": 3})):
        with pytest.raises(CorruptObject, match="here"):
            decode_snapshot(broken, "here")


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 20, -1])
def test_every_truncation_is_found(keep: int) -> None:
    whole = {
        lambda data: decode_document("head", data, "here"): encode_document("head", {"number": 7}),
        lambda data: decode_tensors(data, "here"): encode_tensors({"w": torch.ones(3)}, None),
        lambda data: decode_snapshot(data, "here"): encode_snapshot({"w": torch.ones(3)}, {}),
        lambda data: decode_sparse(data, "here"): encode_sparse({"w": Sparse.from_dense(torch.eye(3))}, None),
        lambda data: decode_table(data, "here"): encode_table([{"a": 1}], None),
    }
    for decode, data in whole.items():
        with pytest.raises(CorruptObject, match="here"):
            decode(data[:keep])


def test_a_document_of_another_kind_is_refused() -> None:
    with pytest.raises(CorruptObject, match="holds a 'head' document where a 'record' is expected"):
        decode_document("record", encode_document("head", {}), "here")


def test_a_newer_schema_is_refused_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "SCHEMA", 2)
    newer = {
        lambda data: decode_document("head", data, "here"): encode_document("head", {}, schema=2),
        lambda data: decode_tensors(data, "here"): encode_tensors({}, None),
        lambda data: decode_snapshot(data, "here"): encode_snapshot({}, {}),
        lambda data: decode_sparse(data, "here"): encode_sparse({}, None),
        lambda data: decode_table(data, "here"): encode_table([], None),
    }
    monkeypatch.undo()
    for decode, data in newer.items():
        with pytest.raises(UnknownSchema, match="here has schema 2, this release reads 1"):
            decode(data)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, torch.ones(1)])
def test_what_json_has_no_word_for_is_refused(value: object) -> None:
    with pytest.raises(StateError, match="only JSON values"):
        encode_document("kind", {"value": value})


def test_tensors_never_come_out_of_a_pickle(tmp_path: object) -> None:
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(3)}, buffer)
    with pytest.raises(CorruptObject, match="not a safetensors file"):
        decode_tensors(buffer.getvalue(), "here")
