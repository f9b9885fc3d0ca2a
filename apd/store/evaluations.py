"""What was measured, as one small document per key: an evaluation under its theta key, a comparison under its task.

A theta key stands for everything that a task's predictions depend on, so what did not change is never measured twice.
"""

from collections.abc import Iterable, Mapping

from apd.store.blobs import in_parallel
from apd.store.formats import JSON, decode_document, encode_document
from apd.store.objects import Objects, check_key, fetch_if_there


class Measurements:
    """The measurements of one kind in one stream."""

    def __init__(self, objects: Objects, kind: str) -> None:
        """kind: `evaluation` or `comparison`; its area is the plural."""
        self._objects = objects
        self._kind = kind

    def key(self, name: str) -> str:
        """Where the record is."""
        return check_key(f"{self._kind}s/{name}.json")

    def get(self, name: str) -> JSON:
        """What was measured, or None."""
        data = fetch_if_there(self._objects, self.key(name))
        return None if data is None else decode_document(self._kind, data, self._objects.where(self.key(name)))

    def get_all(self, names: Iterable[str]) -> dict[str, JSON]:
        """`get` of each name, several at a time."""
        distinct = list(dict.fromkeys(names))
        return dict(zip(distinct, in_parallel(self.get, distinct), strict=True))

    def put(self, name: str, record: Mapping[str, JSON]) -> None:
        """Keep a measurement; a later one replaces it."""
        self._objects.put(self.key(name), encode_document(self._kind, dict(record)))

    def remove(self, name: str) -> None:
        """Forget a measurement, if there is one."""
        self._objects.delete(self.key(name))
