"""Trainings that failed by themselves, such as in a stream's own network; so that they are not repeated for ever.

    attempts/<task>/failures.json             the reasons, the first one first
    attempts/_consolidation/failures.json     of consolidations, since the last one that was done

It goes with the task's attempts: when the task was learned, or is forgotten.
"""

from apd.store.formats import JSON, decode_document, encode_document
from apd.store.objects import Objects, check_key, fetch_if_there

LIMIT = 3
"""After so many failures a task, or a consolidation, is left out until somebody lets it try again."""

CONSOLIDATION = "_consolidation"
"""What stands for a consolidation where tasks have their names; no task can have it."""


def failures_key(task: str) -> str:
    """Where the reasons are."""
    return check_key(f"attempts/{task}/failures.json")


def decode_failures(data: bytes, where: str) -> list[str]:
    """The reasons in an object under `failures_key`. Raises CorruptObject naming `where`."""
    body: dict[str, JSON] = decode_document("failures", data, where)
    return list(body["reasons"])


class Failures:
    """The failures in one stream."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def of(self, task: str) -> list[str]:
        """Why trainings of the task failed, the first one first."""
        key = failures_key(task)
        data = fetch_if_there(self._objects, key)
        return [] if data is None else decode_failures(data, self._objects.where(key))

    def gave_up(self, task: str) -> bool:
        """Whether it has failed so often that it is left out."""
        return len(self.of(task)) >= LIMIT

    def add(self, task: str, reason: str) -> int:
        """Note one more; returns how many there are now."""
        reasons = [*self.of(task), reason]
        self._objects.put(failures_key(task), encode_document("failures", {"reasons": reasons}))
        return len(reasons)

    def clear(self, task: str) -> None:
        """Let the task try again; no error when it never failed."""
        self._objects.delete(failures_key(task))
