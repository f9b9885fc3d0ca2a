"""What a stream has come to, version by version; an arrival costs one entry more.

`sizes/history.json` keeps what was found: a point per version, the oldest first, and the counts of the last one, which
the next one adds to.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from apd.errors import NotFound
from apd.networks import from_config
from apd.overview.capacity import Counts, Specs, count, count_learned
from apd.report.content import CapacityPoint, ConsolidationRow
from apd.store import Stream, Version

GROWING = ("learn", "consolidate", "prune", "forget", "rollback")
"""Kinds of versions that change what a task is or which tasks there are."""
KEPT = "history"


@dataclass(frozen=True, slots=True)
class Growth:
    """What a stream has come to, version by version."""

    capacity: tuple[CapacityPoint, ...]
    """Of every version whose size is known."""
    consolidations: tuple[ConsolidationRow, ...]
    """Refused ones too."""


@dataclass(frozen=True, slots=True)
class Point:
    """One version that changed the model."""

    version: int
    commit_id: str
    size: CapacityPoint | None
    """None where parts of the version were removed on purpose before it was measured."""
    consolidation: ConsolidationRow | None
    """The one that made the version."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Point":
        """The inverse of `dataclasses.asdict`."""
        size, row = values["size"], values["consolidation"]
        return cls(
            values["version"],
            values["commit_id"],
            CapacityPoint(**size) if size else None,
            ConsolidationRow(**row) if row else None,
        )


def growth(stream: Stream, version: Version) -> Growth:
    """How large the stream was at every version up to this one, and what consolidations did to it.

    Only versions that nobody has asked about are looked at.
    """
    points = _points(stream, version)
    return Growth(tuple(point.size for point in points if point.size), _consolidations(stream, points))


def path_to(version: Version, find: Callable[[int], Version]) -> Iterator[Version]:
    """The versions that this one grew from, the newest first, it included. find: a version by its number.

    What a rollback went back from is no part of it.
    """
    past = version
    while True:
        yield past
        if past.grew_from is None:
            return
        past = find(past.grew_from)


def _points(stream: Stream, version: Version) -> list[Point]:
    """Of all versions on the path to this one; those that are new are kept for the next time."""
    known, counts = _kept(stream)
    places = {(point.version, point.commit_id): place for place, point in enumerate(known)}
    new, before, first = list[Version](), None, 0
    for past in path_to(version, stream.version):
        place = places.get((past.number, past.commit_id))
        if place is not None:
            before, first = past, place + 1
            break
        if past.entries and past.kind in GROWING:
            new.append(past)
    points = known[:first]
    if not new:
        return points
    counts, specs = counts if first == len(known) else None, _specs(stream, new)
    for past in reversed(new):
        counts = _measured(stream, past, before, counts, specs)
        points.append(_point(stream, past, counts, specs))
        before = past
    if not known or version.number > known[-1].version:
        kept = {"points": [dataclasses.asdict(point) for point in points]}
        stream.sizes.put(KEPT, kept | {"counts": dataclasses.asdict(counts) if counts else None})
    return points


def _kept(stream: Stream) -> tuple[list[Point], Counts | None]:
    """What is known, and the counts of the last point."""
    body = stream.sizes.get(KEPT)
    if body is None:
        return [], None
    counts = Counts(**body["counts"]) if body["counts"] else None
    return [Point.from_json(point) for point in body["points"]], counts


def _specs(stream: Stream, versions: Sequence[Version]) -> Specs:
    network, classes = from_config(stream.config), {len(entry.classes) for past in versions for entry in past.entries}
    return {count: network.spec(count) for count in classes}


def _measured(
    stream: Stream, version: Version, before: Version | None, counts: Counts | None, specs: Specs
) -> Counts | None:
    """None when it was not measured before parts of the version were removed on purpose."""
    try:
        if before is not None and counts is not None:
            grown = count_learned(stream, version, before, counts, specs)
            if grown is not None:
                return grown
        return count(stream, version, specs)
    except NotFound:
        collected = stream.marks.is_collected(version.number)
        if collected or any(stream.marks.is_buried(entry.record) for entry in version.entries):
            return None
        raise


def _point(stream: Stream, version: Version, counts: Counts | None, specs: Specs) -> Point:
    number, tasks, size, made = version.number, len(version.entries), None, None
    if counts is not None:
        size = CapacityPoint(number, version.kind, tasks, counts.paper_capacity(version, specs), counts.bytes)
    if version.kind == "consolidate":
        made = _row(number, tasks, version.details, _largest_drop(stream, version))
    return Point(number, version.commit_id, size, made)


def _consolidations(stream: Stream, points: Sequence[Point]) -> tuple[ConsolidationRow, ...]:
    """Those that were committed and those that were refused, by version; a refused one is before what came after it."""
    bases = {point.version for point in points}
    rows = [_complete(stream, point.consolidation) for point in points if point.consolidation]
    for one in stream.refusals.consolidations():
        if one.base in bases:
            drop = max(before - after for before, after in one.accuracies.values())
            rows.append(_row(one.base, len(one.accuracies), one.details, drop, accepted=False))
    return tuple(sorted(rows, key=lambda row: (row.version, row.accepted, not row.refit, -row.tolerance)))


def _row(
    version: int, tasks: int, details: Mapping[str, Any], drop: float | None, *, accepted: bool = True
) -> ConsolidationRow:
    facts = {item.name: details[item.name] for item in fields(ConsolidationRow) if item.name in details}
    return ConsolidationRow(version=version, tasks=tasks, accepted=accepted, largest_drop=drop, **facts)


def _complete(stream: Stream, row: ConsolidationRow) -> ConsolidationRow:
    """With what tasks lost by it, where that was measured later only."""
    if row.largest_drop is not None:
        return row
    return dataclasses.replace(row, largest_drop=_largest_drop(stream, stream.version(row.version)))


def _largest_drop(stream: Stream, version: Version) -> float | None:
    """Validation accuracy lost by the task that lost most."""
    assert version.parent is not None
    before = {entry.name: entry.theta_key for entry in stream.version(version.parent).entries}
    measured = stream.evaluations.get_all([*before.values(), *(entry.theta_key for entry in version.entries)])
    pairs = ((measured[before[entry.name]], measured[entry.theta_key]) for entry in version.entries)
    drops = (old["validation_accuracy"] - new["validation_accuracy"] for old, new in pairs if old and new)
    return max(drops, default=None)
