"""Saved attempts: where training goes on after its process was killed.

attempts/<task>/base.json              the version it is trained on: decided once, so that every try has the same
attempts/<task>/snapshot.safetensors   the last saved state, replaced whole
"""

from collections.abc import Mapping

from apd.errors import AlreadyExists
from apd.state import Snapshot
from apd.store.formats import JSON, decode_document, decode_snapshot, encode_document, encode_snapshot
from apd.store.objects import Objects, check_key, fetch_if_there


def base_key(task: str) -> str:
    """Where the version is that the task is trained on."""
    return check_key(f"attempts/{task}/base.json")


def attempt_key(task: str) -> str:
    """Where the attempt is."""
    return check_key(f"attempts/{task}/snapshot.safetensors")


def decode_base(data: bytes, where: str) -> int:
    """Number of the version in an object under `base_key`. Raises CorruptObject naming `where`."""
    return int(decode_document("base", data, where)["version"])


class Attempts:
    """The attempts of one stream."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def begin(self, task: str, base: int) -> int:
        """Decide on which version the task is trained: `base`, unless that was decided before; returns the version."""
        try:
            self._objects.create(base_key(task), encode_document("base", {"version": base}))
        except AlreadyExists:
            return decode_base(self._objects.read(base_key(task)), self._objects.where(base_key(task)))
        return base

    def save(self, task: str, snapshot: Snapshot, extra: Mapping[str, JSON]) -> None:
        """Replace the task's attempt; `extra` is kept with the snapshot's values."""
        data = encode_snapshot(snapshot.tensors, {**snapshot.values, **extra})
        self._objects.put(attempt_key(task), data)

    def load(self, task: str) -> Snapshot | None:
        """The last attempt, None when there is none. Raises CorruptObject."""
        data = fetch_if_there(self._objects, attempt_key(task))
        if data is None:
            return None
        return Snapshot(*decode_snapshot(data, self._objects.where(attempt_key(task))))

    def clear(self, task: str) -> None:
        """Remove the attempt, if there is one."""
        for key in (attempt_key(task), base_key(task)):
            self._objects.delete(key)
