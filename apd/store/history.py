"""The chain of versions: find its end, read any link, add the next one.

Manifests are numbered without gaps, created with put-if-absent, and never changed or removed. So the newest version
can be found without a listing: start at any number that exists, step forward until one does not. `head.json` is a
hint where to start; it may be old, damaged or absent. With a good hint the head takes three requests, a fourth for a
sealed table.
"""

import dataclasses
from collections.abc import Callable, Iterator
from functools import lru_cache

from apd.errors import AlreadyExists, CorruptObject, NotFound
from apd.store.blobs import Blobs, in_parallel
from apd.store.formats import decode_document, decode_table, encode_document, encode_table
from apd.store.manifest import FEW, RECENT, Sealed, TaskEntry, Version, decode_version, encode_version
from apd.store.objects import Objects, fetch_if_there

HINT = "head.json"
CACHED = 64
"""Manifests and tables kept in memory; they never change."""


_proven: set[str] = set()
"""Places where this process has seen put-if-absent work."""


def version_key(number: int) -> str:
    """Where the manifest is."""
    return f"versions/{number:08d}.json"


def last_of(exists: Callable[[int], bool], start: int) -> int:
    """The end of an unbroken run of numbers that holds `start`: doubling steps forward, then bisection."""
    low, step = start, 1
    while exists(low + step):
        low, step = low + step, step * 2
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if exists(middle) else (low, middle)
    return low


class History:
    """The versions of one stream."""

    def __init__(self, objects: Objects, blobs: Blobs) -> None:
        self._objects = objects
        self._blobs = blobs
        self._manifest = lru_cache(CACHED)(self._read_manifest)
        self._table = lru_cache(CACHED)(self._read_table)

    def head(self) -> Version:
        """The newest version. Raises CorruptObject when one that was committed is not there any more."""
        hint = self._hint()
        number = last_of(self._exists, hint if self._exists(hint) else 0)
        if number < hint:
            raise CorruptObject(
                f"{self._objects.where(HINT)} names version {hint} but the newest that is there is {number}: the store "
                f"lost versions. Restore them, or remove {HINT} to go on from version {number}"
            )
        return self.version(number)

    def version(self, number: int) -> Version:
        """Raises NotFound."""
        version = self._manifest(number)
        if version.sealed is None:
            return version
        return dataclasses.replace(version, entries=self._sealed(version.sealed) + version.entries)

    def commit(self, build: Callable[[Version], Version]) -> Version:
        """Add the version that `build` makes of the head; when another one is first, build again on that.

        A `build` that returns a version whose number is not the next one says that nothing is left to do. The loop
        ends: every lost race is another's commit.
        """
        while True:
            head = self.head()
            proposed = build(head)
            if proposed.number <= head.number:
                return proposed
            try:
                return self.append(proposed, head)
            except AlreadyExists:
                continue

    def append(self, version: Version, head: Version) -> Version:
        """Create the manifest right after `head`. Raises AlreadyExists when another version has the number."""
        self.require_safe_store()
        sealed = self._seal(version, head)
        self._objects.create(version_key(version.number), encode_version(sealed))
        self._objects.put(HINT, encode_document("head", {"number": version.number}))
        return sealed

    def create_first(self, version: Version) -> None:
        """Version 0; nothing happens when there is one."""
        try:
            self._objects.create(version_key(0), encode_version(version))
        except AlreadyExists:
            return

    def where(self, number: int) -> str:
        """Full name of a version's manifest."""
        return self._objects.where(version_key(number))

    def log(self, newest_first: bool = True, limit: int | None = None) -> Iterator[Version]:
        """The versions, at most `limit` of them; read ahead, further and further."""
        count = self.head().number + 1
        numbers = list(range(count)[::-1] if newest_first else range(count))[:limit]
        ahead = 1
        while numbers:
            yield from in_parallel(self.version, numbers[:ahead])
            numbers, ahead = numbers[ahead:], min(2 * ahead, CACHED // 2)

    def require_safe_store(self) -> None:
        """Find out, once per process, that the server honours put-if-absent; raises UnsafeStore."""
        if self._objects.url not in _proven:
            self._objects.require_put_if_absent()
            _proven.add(self._objects.url)

    def _hint(self) -> int:
        """A version that was committed; 0 when there is no hint or it is damaged."""
        data = fetch_if_there(self._objects, HINT)
        try:
            return int(decode_document("head", data, HINT)["number"]) if data else 0
        except CorruptObject:
            return 0

    def _exists(self, number: int) -> bool:
        try:
            self._manifest(number)
        except NotFound:
            return False
        return True

    def _read_manifest(self, number: int) -> Version:
        key = version_key(number)
        try:
            data = self._objects.read(key)
        except NotFound as error:
            raise NotFound(f"the stream has no version {number}: {error}; `apd log` lists those there are") from None
        return decode_version(data, number, self._objects.where(key))

    def _read_table(self, digest: str) -> tuple[TaskEntry, ...]:
        rows = decode_table(self._blobs.read(digest), self._blobs.where(digest))
        return tuple(TaskEntry.from_json(row) for row in rows)

    def _sealed(self, sealed: Sealed) -> tuple[TaskEntry, ...]:
        entries = self._table(sealed.digest)
        if len(entries) != sealed.count:
            raise CorruptObject(f"{self._blobs.where(sealed.digest)} has {len(entries)} entries, not {sealed.count}")
        return entries

    def _seal(self, version: Version, head: Version) -> Version:
        """Keep the head's table while it is a prefix of the entries; write a new one when too many are left over."""
        old = head.sealed
        if old and version.entries[: old.count] != head.entries[: old.count]:
            old = None
        if len(version.entries) <= (old.count + RECENT if old else FEW):
            return dataclasses.replace(version, sealed=old)
        rows = [entry.to_json() for entry in version.entries]
        digest = self._blobs.write(encode_table(rows, {"commit": version.commit_id}))
        return dataclasses.replace(version, sealed=Sealed(digest, len(version.entries)))
