"""Which blobs a version needs, what each is, and whose."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from apd.errors import NotFound
from apd.store.blobs import in_parallel
from apd.store.formats import JSON
from apd.store.manifest import SigmaRef, Version
from apd.store.proposals import Candidate
from apd.store.stream import Stream

Kind = Literal[
    "sigma", "statistics", "clustering", "table", "report", "record", "tensors", "tau", "step", "local_shared"
]


@dataclass(frozen=True, slots=True)
class Reference:
    """One blob that something needs."""

    digest: str
    kind: Kind
    task: str | None = None
    """Whose alone it is; None for what is shared."""


class Reach:
    """Follows references; each record is read once."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._records: dict[str, dict[str, JSON] | None] = {}

    def of_history(self, versions: Iterable[Version]) -> set[Reference]:
        """What every version needs to be listed and reported on, even after its tasks are gone."""
        found = set()
        for version in versions:
            if version.sealed:
                found.add(Reference(version.sealed.digest, "table"))
            found |= {Reference(digest, "report") for digest in version.details.get("blobs", {}).values()}
        return found

    def of(self, version: Version, *, partly: bool = False) -> set[Reference]:
        """What the tasks of a version and the next task to arrive need. Forgotten tasks need nothing.

        Raises NotFound when a record is missing, unless the version may be there `partly`.
        """
        found = set(_own(version))
        unread = [entry.record for entry in version.entries if entry.record not in self._records]
        self._records.update(zip(unread, in_parallel(self._record, unread), strict=True))
        for entry in version.entries:
            record = self._records[entry.record]
            if record is not None:
                found |= {Reference(entry.record, "record", entry.name), *_of_record(record)}
            elif not partly and not self._stream.marks.is_buried(entry.record):
                raise NotFound(f"{self._stream.blobs.where(entry.record)} of version {version.number} is missing")
        return found

    def of_candidate(self, candidate: Candidate) -> set[Reference]:
        """What a trained task that waits for its commit needs; nothing if its record is gone."""
        record, task = self._record(candidate.entry.record), candidate.task
        if record is None:
            return set()
        own = {Reference(candidate.entry.record, "record", task), Reference(candidate.step, "step", task)}
        return own | {Reference(candidate.statistics, "statistics"), *_of_sigma(candidate.sigma), *_of_record(record)}

    def _record(self, digest: str) -> dict[str, JSON] | None:
        try:
            return self._stream.records.read_record(digest)
        except NotFound:
            return None


def _own(version: Version) -> Iterator[Reference]:
    if version.sigma:
        yield from _of_sigma(version.sigma)
    if version.statistics:
        yield Reference(version.statistics, "statistics")
    if version.clustering:
        yield Reference(version.clustering, "clustering")


def _of_sigma(ref: SigmaRef) -> Iterator[Reference]:
    yield Reference(ref.base, "sigma")
    if ref.delta:
        yield Reference(ref.delta, "sigma")


def _of_record(record: dict[str, JSON]) -> Iterator[Reference]:
    yield from _of_sigma(SigmaRef(**record["sigma"]))
    yield Reference(record["tensors"], "tensors", record["task"])
    yield Reference(record["tau"], "tau", record["task"])
    for digest in record["local_shared"].values():
        yield Reference(digest, "local_shared")
