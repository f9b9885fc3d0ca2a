"""Saved attempts: where training goes on after its process was killed. One object per task, replaced whole."""

from collections.abc import Mapping

from apd.state import Snapshot
from apd.store.formats import JSON, decode_snapshot, encode_snapshot
from apd.store.objects import Objects, check_key, fetch_if_there


def attempt_key(task: str) -> str:
    """Where the attempt is."""
    return check_key(f"attempts/{task}/snapshot.safetensors")


class Attempts:
    """The attempts of one stream."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

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
        self._objects.delete(attempt_key(task))
