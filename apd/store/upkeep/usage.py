"""What a stream takes up: per kind of data, per task, per version."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from apd.store.attempts import is_of_a_task
from apd.store.blobs import is_blob
from apd.store.stream import Stream
from apd.store.upkeep.reach import Reach, Reference


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes as stored."""

    total: int
    by_kind: dict[str, int]
    """Blobs by what they are (`sigma`, `tau`, ...; `unneeded` for those of no version), other objects by their area."""
    by_task: dict[str, int]
    """Blobs that are the task's alone, in any version, and its data."""
    by_version: dict[int, int]
    """Blobs that a version was the first to need: what committing it added."""
    parameters: int
    """Blobs that the newest version needs: what has to be stored to use it."""


def usage(stream: Stream) -> Usage:
    """Measure everything below the stream's URL."""
    sizes = {listed.key: listed.size for listed in stream.objects.list("")}
    blobs = {key[-64:]: size for key, size in sizes.items() if is_blob(key)}
    by_kind: Counter[str] = Counter()
    by_task: Counter[str] = Counter()
    by_version: dict[int, int] = {}
    current: set[Reference] = set()
    seen: set[str] = set()
    for number, current in _references(stream):
        new = {reference for reference in current if reference.digest not in seen}
        seen |= {reference.digest for reference in new}
        for reference in new:
            by_kind[reference.kind] += blobs.get(reference.digest, 0)
            by_task[reference.task or ""] += blobs.get(reference.digest, 0)
        by_version[number] = sum(blobs.get(reference.digest, 0) for reference in new)
    by_kind["unneeded"] = sum(size for digest, size in blobs.items() if digest not in seen)
    for key, size in sizes.items():
        area, _, rest = key.partition("/")
        if not is_blob(key):
            by_kind[area] += size
        owner, inside, _ = rest.partition("/")
        if inside and (area == "tasks" or (area == "attempts" and is_of_a_task(owner))):
            by_task[owner] += size
    del by_task[""]
    parameters = sum(blobs.get(reference.digest, 0) for reference in current)
    return Usage(sum(sizes.values()), dict(by_kind), dict(by_task), by_version, parameters)


def _references(stream: Stream) -> Iterator[tuple[int, set[Reference]]]:
    """What each version needs, oldest first; of collected versions only what is kept of them."""
    reach, collected = Reach(stream), stream.marks.collected()
    for version in stream.log(newest_first=False):
        found = reach.of_history([version])
        yield version.number, found if version.number in collected else found | reach.of(version)
