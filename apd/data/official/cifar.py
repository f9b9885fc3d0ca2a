"""CIFAR-10 and CIFAR-100: the binary archives, and CIFAR-100 as Parquet with an encoded picture per row."""

import json
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apd.data.official.labelled import Labelled
from apd.data.official.sources import CIFAR10, CIFAR100, CIFAR100_PARQUET, Files
from apd.data.packing.pictures import picture_bytes
from apd.data.rows import batches, opened
from apd.data.splits import Split
from apd.errors import DataError

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
Names = tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """N pictures with both their labels."""

    inputs: Tensor
    """(N, 3, 32, 32) uint8."""
    fine: Tensor
    """(N,) int64."""
    coarse: Tensor
    """(N,) int64; for CIFAR-10, which has one label, the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Cifar100:
    """Pictures of 100 classes in 20 superclasses of five."""

    fine: Labelled
    superclasses: Names
    members: tuple[tuple[int, ...], ...]
    """Fine labels of each superclass, ascending."""


def cifar100(files: Files, legacy_layout: bool = False) -> Cifar100:
    """CIFAR-100 of the archive, or where that is absent of train.parquet and test.parquet.

    legacy_layout: scramble the pictures as the paper's authors do, see `scrambled`.
    """
    parquet = files.has(CIFAR100_PARQUET[0]) and not files.has(CIFAR100)
    train, test, fine, coarse = _of_parquet(files) if parquet else _of_archive(files)
    for part, rows, official in (("train", train, 50_000), ("test", test, 10_000)):
        if len(rows.fine) != official:
            files.note(f"cifar100: {len(rows.fine):,} {part} pictures, officially {official:,}")
    if legacy_layout:
        files.note("cifar100: legacy layout, planar values taken for interleaved ones, so pictures are scrambled")
        train, test = (replace(rows, inputs=scrambled(rows.inputs)) for rows in (train, test))
    data = Labelled(Split(train.inputs, train.fine), Split(test.inputs, test.fine), fine)
    return Cifar100(data, coarse, _members(test, len(coarse)))


def cifar10(files: Files) -> Labelled:
    """CIFAR-10 of the archive: pictures of 10 classes."""
    archive, folder = files.path(CIFAR10), "cifar-10-batches-bin"
    batches = [_records(archive, f"{folder}/data_batch_{number}.bin", labels=1) for number in range(1, 6)]
    train = Split(torch.cat([batch.inputs for batch in batches]), torch.cat([batch.fine for batch in batches]))
    test = _records(archive, f"{folder}/test_batch.bin", labels=1)
    return Labelled(train, Split(test.inputs, test.fine), _lines(archive, f"{folder}/batches.meta.txt"))


def scrambled(pictures: Tensor) -> Tensor:
    """(N, 3, 32, 32) whose planar values are taken for interleaved ones.

    Tables were published of models trained on such pictures, because a loader reshaped 3,072 planar values straight to
    32 x 32 x 3; this is for comparing with them.
    """
    return pictures.reshape(-1, 32, 32, 3).permute(0, 3, 1, 2).contiguous()


def _of_archive(files: Files) -> tuple[Rows, Rows, Names, Names]:
    archive, folder = files.path(CIFAR100), "cifar-100-binary"
    train, test = (_records(archive, f"{folder}/{part}.bin", labels=2) for part in ("train", "test"))
    fine, coarse = (_lines(archive, f"{folder}/{kind}_label_names.txt") for kind in ("fine", "coarse"))
    return train, test, fine, coarse


def _of_parquet(files: Files) -> tuple[Rows, Rows, Names, Names]:
    train, test = (files.path(source) for source in CIFAR100_PARQUET)
    return _parquet_rows(train, files), _parquet_rows(test, files), _names(train, "fine"), _names(train, "coarse")


def _members(rows: Rows, superclasses: int) -> tuple[tuple[int, ...], ...]:
    """Fine labels of each superclass. DataError if one fine label is in two."""
    pairs = torch.unique(torch.stack([rows.coarse, rows.fine], 1), dim=0).tolist()
    fine = [label for _, label in pairs]
    if len(fine) != len(set(fine)):
        raise DataError(f"CIFAR-100's test rows put {len(fine) - len(set(fine))} fine labels into two superclasses")
    return tuple(tuple(sorted(label for above, label in pairs if above == number)) for number in range(superclasses))


def _records(archive: Path, member: str, labels: int) -> Rows:
    """Fixed-size records: label bytes (the coarse one first), then 3,072 planar pixels."""
    content = bytearray(_member(archive, member))
    size = labels + PIXELS
    if not content or len(content) % size:
        raise DataError(f"{archive}, {member} is {len(content)} bytes long; expected records of {size}")
    records = torch.frombuffer(content, dtype=torch.uint8).reshape(-1, size)
    return Rows(records[:, labels:].reshape(-1, *SHAPE), records[:, labels - 1].long(), records[:, 0].long())


def _lines(archive: Path, member: str) -> Names:
    return tuple(_member(archive, member).decode().split())


def _member(archive: Path, member: str) -> bytes:
    try:
        with tarfile.open(archive) as content:
            found = content.extractfile(member)
            if found is None:
                raise DataError(f"{archive}, {member} is not a file")
            with found:
                return found.read()
    except (KeyError, OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{archive} has no readable {member}: {error}") from None


def _parquet_rows(path: Path, files: Files) -> Rows:
    with path.open("rb") as source, opened(str(path), source) as parquet:
        missing = {"img", "fine_label", "coarse_label"} - set(parquet.schema_arrow.names)
        if missing:
            raise DataError(f"{path} has no column {min(missing)!r}; expected img, fine_label and coarse_label")
        if "confidence" in parquet.schema_arrow.names:
            files.note(f"cifar100/{path.name}: its labels are estimates, a column gives the confidence in each")
        inputs = torch.empty((parquet.metadata.num_rows, *SHAPE), dtype=torch.uint8)
        fine, coarse = (torch.empty(len(inputs), dtype=torch.int64) for _ in range(2))
        for row, record in enumerate(_parquet_records(path, parquet)):
            inputs[row] = torch.from_numpy(picture_bytes(record["img"]["bytes"], SHAPE, f"{path}, row {row}"))
            fine[row], coarse[row] = record["fine_label"], record["coarse_label"]
    return Rows(inputs, fine, coarse)


def _parquet_records(path: Path, parquet: Any) -> Iterator[dict[str, Any]]:
    for batch in batches(str(path), parquet, 256, ["img", "fine_label", "coarse_label"]):
        yield from batch.to_pylist()


def _names(path: Path, kind: str) -> Names:
    """Class names of the file's metadata: the hub's features, or lines under fine_names and coarse_names."""
    with path.open("rb") as source, opened(str(path), source) as parquet:
        metadata = parquet.schema_arrow.metadata or {}
    if f"{kind}_names".encode() in metadata:
        return tuple(metadata[f"{kind}_names".encode()].decode().split())
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    if f"{kind}_label" not in features:
        raise DataError(f"{path} does not name its {kind} labels; expected the hub's metadata")
    return tuple(features[f"{kind}_label"]["names"])
