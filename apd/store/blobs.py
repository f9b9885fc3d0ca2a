"""Content-addressed blobs: `blobs/ab/abcdef...` holds the bytes whose SHA-256 is abcdef...

A blob never changes, so it may be written again at any time: that heals a damaged one and renews the age by which
garbage collection spares what a running commit has just written.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from apd.errors import CorruptObject, NotFound
from apd.store.formats import JSON, RESTORE, digest_of, owner_of
from apd.store.objects import Listed, Objects

PARALLEL = 8
"""Requests of one process at a time."""

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """[work(item) for item in items], PARALLEL at a time.

    The first error is raised when what is under way has ended; what has not begun by then does not begin.
    """
    listed = list(items)
    if len(listed) <= 1:
        return [work(item) for item in listed]
    with ThreadPoolExecutor(min(PARALLEL, len(listed))) as pool:
        return list(pool.map(work, listed))


def key_of(digest: str) -> str:
    """Where the blob is."""
    return f"blobs/{digest[:2]}/{digest}"


def is_blob(key: str) -> bool:
    """Whether such an object can only be a blob."""
    digest = key.rsplit("/", 1)[-1]
    return len(digest) == 64 and key == key_of(digest)


class Blobs:
    """Reads and writes blobs, each checked against its name."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def write(self, data: bytes) -> str:
        """Store the bytes; returns their digest."""
        digest = digest_of(data)
        self._objects.put(key_of(digest), data)
        return digest

    def read(self, digest: str) -> bytes:
        """Raises NotFound, or CorruptObject when the bytes are not those that were written."""
        data = self._objects.read(key_of(digest))
        found = digest_of(data)
        if found != digest:
            raise CorruptObject(
                f"{self.where(digest)} has changed since it was written: its {len(data)} bytes have SHA-256 {found}; "
                f"{RESTORE}"
            )
        return data

    def owner(self, digest: str) -> dict[str, JSON]:
        """For whom the blob was written, without reading all of a large one; nothing if it is gone, or damaged."""
        try:
            with self._objects.open(key_of(digest)) as file:
                return owner_of(file)
        except NotFound:
            return {}

    def delete(self, digest: str) -> None:
        """Remove the blob if it is there."""
        self._objects.delete(key_of(digest))

    def stored(self) -> dict[str, Listed]:
        """All blobs by digest, from one listing; what else people keep beside them is not ours."""
        return {listed.key[-64:]: listed for listed in self._objects.list("blobs/") if is_blob(listed.key)}

    def where(self, digest: str) -> str:
        """The blob's full name, for people."""
        return self._objects.where(key_of(digest))
