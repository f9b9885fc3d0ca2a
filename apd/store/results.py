"""Where a benchmark keeps its results: a folder or a bucket prefix.

benchmark.json              the settings that all cells share, created once
data.json                   the tasks that they learn and what is known of the data, created once
cells/<cell>.json           one document per finished cell, created once: a cell is whole or absent
results.parquet, ...        what is made of them, replaced whole
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from apd.errors import AlreadyExists, ConfigError
from apd.store.connect import connect
from apd.store.formats import JSON, decode_document, encode_document
from apd.store.objects import fetch_if_there

SETTINGS, DATA = "benchmark.json", "data.json"


def cell_key(cell: str) -> str:
    """Where a finished cell is."""
    return f"cells/{cell}.json"


class Results:
    """The results of one benchmark. Cheap to make, safe to use from many processes."""

    def __init__(self, url: str, *, storage_options: Mapping[str, Any] | None = None) -> None:
        """url: a folder, made when absent, or s3://bucket/prefix. storage_options go to fsspec."""
        self._objects = connect(url, storage_options)
        self.url = self._objects.url

    def claim(
        self, settings: Mapping[str, JSON], data: Mapping[str, JSON], defaults: Mapping[str, JSON] | None = None
    ) -> None:
        """Make this the place of a benchmark with these settings and data; ConfigError if it has results of others.

        data: the number of classes of each of the `tasks`, by name, and the `notes` of their source. A place that was
        claimed before data was recorded takes the first that comes. defaults: what settings had, in effect, that there
        were not yet when the place was claimed. Raises UnsafeStore when the server does not honour
        put-if-absent.
        """
        if not self._objects.exists(SETTINGS):
            self._objects.require_put_if_absent()
        try:
            self._objects.create(SETTINGS, encode_document("benchmark", dict(settings)))
        except AlreadyExists:
            self._refuse_others(settings, defaults or {})
        try:
            self._objects.create(DATA, encode_document("data", dict(data)))
        except AlreadyExists:
            self._refuse_other_data(data)

    def _refuse_others(self, settings: Mapping[str, JSON], defaults: Mapping[str, JSON]) -> None:
        """Another way to write the same settings is none of others: 0 for 0.0, or nothing for a default."""
        for name, (old, new) in differences(self.settings(defaults), settings).items():
            raise ConfigError(
                f"{self.url} has results with {name} = {old!r}, now it is {new!r}; "
                "results of different settings do not mix: choose another place"
            )

    def settings(self, defaults: Mapping[str, JSON]) -> dict[str, JSON]:
        """What all cells share, as {"learning.epochs": 5}. defaults: as `claim` takes them. Raises NotFound."""
        there = decode_document("benchmark", self._objects.read(SETTINGS), self._objects.where(SETTINGS))
        return _flat(defaults) | _flat(there)

    def _refuse_other_data(self, data: Mapping[str, JSON]) -> None:
        there = _facts(decode_document("data", self._objects.read(DATA), self._objects.where(DATA)))
        now = _facts(data)
        if there != now:
            found, expected = _some(now - there), _some(there - now)
            raise ConfigError(
                f"{self.url} has results on other data: found {found}, expected {expected}. Results on different data "
                "do not mix: put the files back that there were, or choose another place with --out"
            )

    def cell(self, cell: str) -> JSON | None:
        """A finished cell, None where it is not finished. Raises CorruptObject."""
        key = cell_key(cell)
        data = fetch_if_there(self._objects, key)
        return None if data is None else decode_document("cell", data, self._objects.where(key))

    def cells(self) -> list[JSON]:
        """All finished cells, by name. Raises CorruptObject."""
        keys = [item.key for item in self._objects.list("cells/")]
        return [decode_document("cell", self._objects.read(key), self._objects.where(key)) for key in sorted(keys)]

    def finish(self, cell: str, body: JSON) -> None:
        """Keep a finished cell; where another process was first, its results stay."""
        try:
            self._objects.create(cell_key(cell), encode_document("cell", body))
        except AlreadyExists:
            return

    def read(self, name: str) -> bytes:
        """A file that was saved. Raises NotFound."""
        return self._objects.read(name)

    def save(self, name: str, data: bytes) -> str:
        """Write a file made of the cells; returns its URL."""
        self._objects.put(name, data)
        return self._objects.where(name)


def differences(old: Mapping[str, JSON], new: Mapping[str, JSON]) -> dict[str, tuple[JSON, JSON]]:
    """{"learning.epochs": (5, 10)}: settings, groups of settings flattened, that are not equal, by name."""
    before, after = _flat(old), _flat(new)
    names = sorted(before.keys() | after.keys())
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def encode_rows(rows: Sequence[Mapping[str, JSON]]) -> bytes:
    """Rows of the same columns as a Parquet file; one or more."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), sink, compression="zstd")
    return sink.getvalue()


def _facts(data: Mapping[str, JSON]) -> set[str]:
    """{"tasks": {"shoes": 2}, "notes": ["a copy"]} -> {"shoes (2 classes)", "a copy"}."""
    return {f"{task} ({classes} classes)" for task, classes in data["tasks"].items()} | set(data["notes"])


def _some(facts: set[str], most: int = 3) -> str:
    """For a message: all of a few, some of many."""
    listed = "; ".join(sorted(facts)[:most])
    return f"{listed} and {len(facts) - most} more" if len(facts) > most else listed or "nothing more"


def _flat(values: Mapping[str, JSON], place: str = "") -> dict[str, JSON]:
    """{"learning": {"epochs": 5}} -> {"learning.epochs": 5}."""
    flat: dict[str, JSON] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{place}{name}.") if isinstance(value, Mapping) else {f"{place}{name}": value}
    return flat
