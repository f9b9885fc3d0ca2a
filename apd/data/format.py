"""The task format, version 1: one labelled dataset as a folder of Parquet files.

    <folder>/train.parquet         required
             validation.parquet    what the gates judge by; held out of train, stratified by class, where absent
             test.parquet          for the reported accuracy; held out of train as well where absent
             task.json             written last: a folder without it is not a task yet

Each Parquet file has exactly two columns and no nulls; it is read a few rows at a time, whatever its row groups:

    input   fixed-size list of uint8 or float32: one input, flattened row-major (pictures: channels, height, width);
            float32 values are finite
    label   int64: index into the class names

`task.json` is one object:

    schema        1
    name          1 to 64 lowercase letters, digits, '.', '_' and '-'; begins with a letter or digit; no '..'
    kind          "classification"
    classes       two or more different names, in label order; train holds at least two of them
    input_shape   [channels, height, width], or any other list of sizes
    input_dtype   "uint8" (divided by 255 before the network) or "float32" (taken as it is)
    files         {"train": "train.parquet", ...}: the file of each split, directly in the folder
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import IO, Any, NoReturn, Protocol, get_args

from apd.config import Dtype
from apd.errors import TaskRejected
from apd.state import Shape

SCHEMA = 1
METADATA = "task.json"
METADATA_LIMIT = 4 * 2**20
"""Bytes; a longer one is refused unread."""
PIECE = 2**20
"""Bytes that are read at once where all of a file is read."""
SPLITS = ("train", "validation", "test")
SAFE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Folder(Protocol):
    """A task folder, wherever it is. Failures of the place itself (network, disk) keep their own errors."""

    def names(self) -> list[str]:
        """Names of the files directly in it."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """One file, seekable, to read."""
        ...


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A task folder on this machine."""

    path: Path

    def names(self) -> list[str]:
        """Names of the files directly in it; none if there is no such folder."""
        return sorted(entry.name for entry in self.path.iterdir() if entry.is_file()) if self.path.is_dir() else []

    def open(self, name: str) -> IO[bytes]:
        """One file, to read."""
        return (self.path / name).open("rb")


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """What `task.json` says; every field is checked."""

    name: str
    classes: tuple[str, ...]
    input_shape: Shape
    input_dtype: Dtype
    files: Mapping[str, str] = field(default_factory=lambda: {"train": "train.parquet"})
    """File name of each split."""
    kind: str = "classification"
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        _check(self.schema == SCHEMA, "schema", self.schema, f"{SCHEMA}, the version this release reads")
        check_name(self.name)
        _check(self.kind == "classification", "kind", self.kind, "'classification'")
        _check_classes(self.classes)
        sizes = self.input_shape
        _check(bool(sizes) and min(sizes) >= 1, "input_shape", sizes, "a list of whole numbers >= 1")
        _check(self.input_dtype in get_args(Dtype), "input_dtype", self.input_dtype, f"one of {get_args(Dtype)}")
        _check(set(self.files) <= set(SPLITS), "files", self.files, f"files of {', '.join(SPLITS)} and no other split")
        _check("train" in self.files, "files", self.files, "one for 'train' at least")
        for split, file in self.files.items():
            _check(safe(file), f"files.{split}", file, "a plain file name in the folder")

    @property
    def row_size(self) -> int:
        """Values in one input."""
        return prod(self.input_shape)

    @property
    def row_bytes(self) -> int:
        """Size of one input."""
        return self.row_size * (1 if self.input_dtype == "uint8" else 4)

    def to_json(self) -> dict[str, Any]:
        """The object that `task.json` holds."""
        return {
            "schema": self.schema,
            "name": self.name,
            "kind": self.kind,
            "classes": list(self.classes),
            "input_shape": list(self.input_shape),
            "input_dtype": self.input_dtype,
            "files": dict(self.files),
        }

    @classmethod
    def from_json(cls, values: Any) -> "TaskInfo":
        """The inverse of `to_json`; TaskRejected names the field that is missing, unknown or wrong."""
        fields = cls.__dataclass_fields__
        if not isinstance(values, dict):
            _reject("content", type(values).__name__, "one JSON object")
        odd = sorted(set(values) ^ set(fields))
        if odd:
            _reject(odd[0], "missing" if odd[0] in fields else "unknown", f"exactly the fields {', '.join(fields)}")
        for name, kind in (("classes", str), ("input_shape", int)):
            _check(_list_of(kind, values[name]), name, values[name], f"a list of {kind.__name__}")
        files = values["files"]
        _check(isinstance(files, dict) and _list_of(str, list(files.values())), "files", files, "file names by split")
        _check(type(values["schema"]) is int, "schema", values["schema"], "a whole number")
        for name in ("name", "kind", "input_dtype"):
            _check(isinstance(values[name], str), name, values[name], "a string")
        lists = {"classes": tuple(values["classes"]), "input_shape": tuple(values["input_shape"])}
        return cls(**(values | lists))


def measure(folder: Folder, name: str) -> dict[str, Any]:
    """Size and SHA-256 of a file, read in pieces."""
    digest, size = hashlib.sha256(), 0
    with folder.open(name) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            size += len(piece)
    return {"size": size, "sha256": digest.hexdigest()}


def safe(name: str) -> bool:
    """Whether a name may become part of a path: see the module's docstring for the rule."""
    return bool(SAFE_NAME.fullmatch(name)) and ".." not in name


def check_name(name: str) -> None:
    """Raise TaskRejected unless this is a task name."""
    rule = "1 to 64 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit, without '..'"
    _check(safe(name), "name", name, rule)


def read_info(folder: Folder) -> TaskInfo:
    """Read and check `task.json`, and that the files it names are there."""
    names = folder.names()
    if METADATA not in names:
        raise TaskRejected(
            f"no {METADATA} among {names or 'no files'}: the folder is incomplete, or still being written"
        )
    with folder.open(METADATA) as file:
        content = file.read(METADATA_LIMIT + 1)
    _check(len(content) <= METADATA_LIMIT, "size", f"over {METADATA_LIMIT} bytes", "smaller")
    try:
        info = TaskInfo.from_json(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise TaskRejected(f"{METADATA} is not JSON: {error}") from None
    for split, wanted in info.files.items():
        _check(wanted in names, f"files.{split}", wanted, f"a file in the folder, which has {', '.join(names)}")
    return info


def _check_classes(classes: Sequence[object]) -> None:
    odd = [name for name in classes if not _is_text(name)]
    _check(not odd, "classes", odd[:10], "names, as text")
    named = all(str(name).strip() for name in classes)
    _check(len(classes) >= 2 and named, "classes", list(classes)[:10], "two or more names")
    twice = [name for name, count in Counter(classes).items() if count > 1]
    _check(not twice, "classes", twice[:10], "different from each other")


def _is_text(name: object) -> bool:
    """Whether it can be written as a name; that of a folder may be bytes that are no text."""
    return isinstance(name, str) and name.encode(errors="replace").decode() == name


def _list_of(kind: type, values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is kind for value in values)


def _check(holds: bool, name: str, found: object, expected: str) -> None:
    if not holds:
        _reject(name, found, expected)


def _reject(name: str, found: object, expected: str) -> NoReturn:
    raise TaskRejected(f"{METADATA}: {name} is {found!r:.200} but must be {expected}")
