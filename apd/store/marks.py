"""Notes about what is no longer there, or must stay.

    forgotten/<record>.json      a task's record was removed on purpose
    collected/00000007.json      garbage collection may have removed blobs of version 7
    pins/00000007.json           somebody is about to rely on version 7; holds for the collection's grace period

A pin is written before the collected mark is looked for, and the mark before pins are looked for. So of somebody who
wants an old version and a garbage collection that wants to remove it, at least one sees the other and gives way.
"""

from apd.errors import ApdError, NotFound, UnknownTask
from apd.store.formats import JSON, decode_document, encode_document
from apd.store.manifest import TaskEntry, now
from apd.store.objects import Objects, fetch_if_there, numbered


def collected_key(number: int) -> str:
    """Where it is written that the version may be incomplete."""
    return f"collected/{number:08d}.json"


def pin_key(number: int) -> str:
    """Where it is written that the version is in use."""
    return f"pins/{number:08d}.json"


def _tombstone_key(record: str) -> str:
    return f"forgotten/{record}.json"


class Marks:
    """The notes of one stream."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def bury(self, record: str, task: str, version: int, created: str) -> None:
        """Note that a record was removed by the version that forgot its task."""
        body = {"task": task, "version": version, "created": created}
        self._objects.put(_tombstone_key(record), encode_document("forgotten", body))

    def is_buried(self, record: str) -> bool:
        """Whether the record was removed on purpose."""
        return self._objects.exists(_tombstone_key(record))

    def buried(self) -> set[str]:
        """All such records."""
        return {item.key.removeprefix("forgotten/").removesuffix(".json") for item in self._objects.list("forgotten/")}

    def pin(self, number: int) -> None:
        """Keep all of a version for the grace period. Raises NotFound when it was collected."""
        self._objects.put(pin_key(number), encode_document("pin", {"version": number, "created": now()}))
        if self.is_collected(number):
            raise NotFound(f"version {number} was removed by garbage collection; `apd log` shows what is left")

    def pinned_at(self, number: int) -> float | None:
        """When the version was pinned last, by the store's clock; None if never."""
        try:
            return self._objects.stat(pin_key(number)).modified
        except NotFound:
            return None

    def collect(self, number: int) -> None:
        """Note that blobs of the version may be removed from now on."""
        self._objects.put(collected_key(number), encode_document("collected", {"version": number, "created": now()}))

    def is_collected(self, number: int) -> bool:
        """Whether blobs of the version may be missing."""
        return self._objects.exists(collected_key(number))

    def collected(self) -> dict[int, float]:
        """All such versions, and when they were marked, by the store's clock."""
        return {number: listed.modified for number, listed in numbered(self._objects, "collected/").items()}

    def explain(self, error: NotFound, entry: TaskEntry, number: int) -> ApdError:
        """The error for a task of a version whose blobs are not there."""
        data = fetch_if_there(self._objects, _tombstone_key(entry.record))
        if data is not None:
            body: dict[str, JSON] = decode_document("forgotten", data, _tombstone_key(entry.record))
            return UnknownTask(
                f"task {entry.name!r} was forgotten in version {body['version']}, on {body['created']}; "
                f"version {number} still lists it"
            )
        if self.is_collected(number):
            return NotFound(
                f"version {number} was removed by garbage collection, task {entry.name!r} with it ({error})"
            )
        return error
