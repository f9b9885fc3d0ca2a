"""What a version is, and its manifest.

A manifest is one document `versions/00000007.json` of kind "version". It holds the newest entries itself (`recent`) and
names one blob, a table, that holds all older ones (`sealed`). So a manifest has a bounded size, opening a version
takes the same number of requests with ten tasks as with a thousand, and an arriving task rewrites nothing else; when
there are too many recent entries, all entries move into a new table.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from apd.errors import CorruptObject, UnknownSchema, UnknownTask
from apd.store.formats import JSON, decode_document, encode_document

RECENT = 32
"""Most entries that a manifest holds itself. At a thousand tasks this writes least: half of 32 entries of 500 bytes in
every manifest, and 250 kB of table every 32 arrivals."""

FEW = 8
"""Most entries before there is a table at all, so that what is true of ten tasks is true of a thousand."""

Kind = Literal["create", "learn", "consolidate", "prune", "forget", "rollback"]


def now() -> str:
    """The time, UTC, to the second; for people only, since clocks differ."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class SigmaRef:
    """A shared sigma: the blob of a whole one, and where it differs from that."""

    base: str
    """Digest of dense tensors."""
    delta: str | None = None
    """Digest of sparse tensors: the values (not differences) of the elements that are not the base's."""


@dataclass(frozen=True, slots=True)
class TaskEntry:
    """One task in one version."""

    name: str
    classes: tuple[str, ...]
    arrival: int
    """Its number in the order of arrival, from 1."""
    record: str
    """Digest of the record, which names everything the task's parameters are made of."""
    theta_key: str
    """SHA-256 over everything theta and the private tensors depend on: equal keys, equal predictions."""
    learned_in: int
    """Number of the version that has it first."""
    based_on: int
    """Number of the version whose sigma its training started from."""
    tau_nnz: int
    """Non-zeros of tau."""
    bytes: int
    """Size of the blobs that are this task's alone: record, masks and private tensors, tau."""
    validation_accuracy: float | None
    """When learned, in [0, 1]; None when nobody measured it."""
    test_accuracy: float | None
    """When learned, in [0, 1]."""
    baseline: float | None
    """Validation accuracy of always answering the class that training has most of; None when nobody measured it."""
    seconds: float | None
    """Time its training took."""

    def to_json(self) -> dict[str, JSON]:
        """JSON values."""
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)} | {
            "classes": list(self.classes)
        }

    @classmethod
    def from_json(cls, values: Mapping[str, JSON]) -> "TaskEntry":
        """The inverse of `to_json`."""
        return cls(**(dict(values) | {"classes": tuple(values["classes"])}))


@dataclass(frozen=True, slots=True)
class Sealed:
    """The table of the oldest entries of a version."""

    digest: str
    count: int


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable state of a stream."""

    number: int
    parent: int | None
    """Number of the version before; None for version 0, which `create` makes."""
    kind: Kind
    """What made it."""
    message: str
    """For people, in the log."""
    commit_id: str
    """Of the one commit that made it."""
    created: str
    """ISO 8601, UTC, by the committer's clock."""
    sigma: SigmaRef | None = None
    """The sigma from which the next task starts; None before the first."""
    statistics: str | None = None
    """Digest of the sums of masks of all tasks; None before the first."""
    clustering: str | None = None
    """Digest of the clustering that the next consolidation starts from; None before the first."""
    consolidated: int | None = None
    """Number of the newest consolidation that its tasks have gone through; 0 before the first, None where the release
    that committed it did not note it."""
    entries: tuple[TaskEntry, ...] = ()
    """The tasks, in the order in which they were learned."""
    watermark: int = 0
    """Every arrival up to this number is settled: learned, or learned and forgotten."""
    settled: tuple[int, ...] = ()
    """Arrivals above the watermark that are settled."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Facts about the commit, JSON values."""
    sealed: Sealed | None = None
    """Where its oldest entries are stored."""

    @property
    def grew_from(self) -> int | None:
        """Number of the version whose tasks these are, changed: after a rollback the one that it went back to."""
        return self.details["version"] if self.kind == "rollback" else self.parent

    def has(self, task: str) -> bool:
        """Whether the version has a task of that name."""
        return any(entry.name == task for entry in self.entries)

    def entry(self, task: str) -> TaskEntry:
        """The task's entry. Raises UnknownTask with the names that come near."""
        for entry in self.entries:
            if entry.name == task:
                return entry
        raise self.unknown(task)

    def unknown(self, task: str) -> UnknownTask:
        """The error for a task that the version does not have."""
        names = [entry.name for entry in self.entries]
        near = difflib.get_close_matches(task, names, n=3)
        some = f"has {', '.join(names[:5]) or 'none'}{' and more' if len(names) > 5 else ''}"
        hint = f"did you mean {' or '.join(near)}?" if near else f"it {some}"
        return UnknownTask(f"version {self.number} has no task {task!r}; {hint}")

    def is_settled(self, arrival: int) -> bool:
        """Whether the arrival needs no more work."""
        return arrival <= self.watermark or arrival in self.settled


def settle(version: Version, arrival: int) -> tuple[int, tuple[int, ...]]:
    """Watermark and settled arrivals after one more is settled."""
    watermark, above = version.watermark, {*version.settled, arrival}
    while watermark + 1 in above:
        watermark += 1
    return watermark, tuple(sorted(number for number in above if number > watermark))


def encode_version(version: Version) -> bytes:
    """The manifest; the entries that `version.sealed` counts are left to that table."""
    body = {item.name: getattr(version, item.name) for item in dataclasses.fields(version) if item.name != "entries"}
    start = version.sealed.count if version.sealed else 0
    body["recent"] = [entry.to_json() for entry in version.entries[start:]]
    body["sigma"] = dataclasses.asdict(version.sigma) if version.sigma else None
    body["sealed"] = dataclasses.asdict(version.sealed) if version.sealed else None
    body["settled"] = list(version.settled)
    body["details"] = dict(version.details)
    return encode_document("version", body)


def decode_version(data: bytes, number: int, where: str) -> Version:
    """The version with its recent entries only. Raises CorruptObject or UnknownSchema naming `where`."""
    body = decode_document("version", data, where)
    if body["number"] != number:
        raise CorruptObject(f"{where} holds version {body['number']}")
    recent, sigma, sealed = body.pop("recent"), body.pop("sigma"), body.pop("sealed")
    try:
        return Version(
            **(body | {"settled": tuple(body["settled"])}),
            entries=tuple(TaskEntry.from_json(row) for row in recent),
            sigma=SigmaRef(**sigma) if sigma else None,
            sealed=Sealed(**sealed) if sealed else None,
        )
    except TypeError as error:  # a member too many, or one too few
        raise UnknownSchema(
            f"{where} has other members than this release knows ({error}); use a newer release"
        ) from None
