"""Is every byte of a stream what was written, and is everything there that something needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from apd.data import measure
from apd.errors import ApdError
from apd.state import Clustering
from apd.store.attempts import decode_base, decode_candidate
from apd.store.blobs import in_parallel, is_blob, key_of
from apd.store.failures import decode_failures
from apd.store.formats import decode_document, decode_snapshot
from apd.store.history import HINT
from apd.store.manifest import TaskEntry, Version
from apd.store.objects import fetch_if_there, number_in, numbered
from apd.store.stream import Stream
from apd.store.upkeep.reach import Reach, Reference

DOCUMENTS = {
    "evaluations/": "evaluation",
    "comparisons/": "comparison",
    "sizes/": "size",
    "forgotten/": "forgotten",
    "collected/": "collected",
    "pins/": "pin",
    "names/": "name",
    "refused/": "refused",
}
"""Areas of independent documents, and their kind."""

ATTEMPTS: dict[str, Callable[[bytes, str], object]] = {
    "base.json": decode_base,
    "candidate.json": decode_candidate,
    "failures.json": decode_failures,
}
"""What else than a snapshot an attempt consists of."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at and what is wrong."""

    versions: int
    collected: int
    """Versions that garbage collection has removed: only their manifests were checked."""
    tasks: int
    """Different states of tasks that were loaded."""
    blobs: int
    """Blobs that are needed; each was read."""
    arrivals: int
    documents: int
    """Evaluations, claims, marks and the like."""
    unneeded: int
    """Blobs that no version needs: of commits under way or given up, for garbage collection."""
    unneeded_bytes: int
    problems: tuple[str, ...]
    """One sentence each, naming the object."""

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(stream: Stream, *, data: bool = True) -> Verification:
    """Read everything the stream holds and check it. `data`: the bytes of the tasks' own data, too.

    Nothing kept in memory by `stream` is trusted: it is opened anew.
    """
    return _Check(Stream.open(stream.url, storage_options=stream.storage_options)).run(data)


class _Check:
    """One verification; collects problems as it goes."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._problems: list[str] = []
        self._needed: set[str] = set()
        self._collected: dict[int, float] = {}
        self._buried: set[str] = set()
        self._tasks: set[str] = set()
        self._forgotten: set[int] = set()

    def run(self, data: bool) -> Verification:
        sizes = {digest: listed.size for digest, listed in self._stream.blobs.stored().items()}
        self._strangers("blobs/", is_blob)
        self._collected, self._buried = self._stream.marks.collected(), self._stream.marks.buried()
        versions = self._versions()
        self._try(self._hint)
        arrivals = self._arrivals(versions, data)
        documents = sum(self._documents(area, kind) for area, kind in DOCUMENTS.items())
        self._attempts()
        unneeded = sizes.keys() - self._needed
        return Verification(
            versions=len(versions),
            collected=len(self._collected),
            tasks=len(self._tasks),
            blobs=len(self._needed),
            arrivals=arrivals,
            documents=documents,
            unneeded=len(unneeded),
            unneeded_bytes=sum(sizes[digest] for digest in unneeded),
            problems=tuple(self._problems),
        )

    def _try(self, check: Callable[..., object], *arguments: Any) -> None:
        try:
            check(*arguments)
        except ApdError as error:
            self._problems.append(f"{type(error).__name__}: {error}")

    def _demand(self, holds: bool, problem: str) -> None:
        if not holds:
            self._problems.append(problem)

    def _numbers(self, area: str, first: int) -> list[int]:
        """Those in use in an area of numbered documents, which lacks none."""
        found = numbered(self._stream.objects, area)
        self._strangers(area, lambda key: number_in(area, key) is not None)
        missing = sorted(set(range(first, max(found, default=0) + 1)) - set(found))
        self._demand(not missing, f"{self._stream.objects.where(area)} lacks {missing}")
        return sorted(found)

    def _strangers(self, area: str, is_ours: Callable[[str], bool]) -> None:
        for listed in self._stream.objects.list(area):
            where = self._stream.objects.where(listed.key)
            self._demand(is_ours(listed.key), f"{where} is not the stream's, which leaves it alone; move it elsewhere")

    def _hint(self) -> None:
        objects = self._stream.objects
        data = fetch_if_there(objects, HINT)
        if data is not None:
            newest = max(numbered(objects, "versions/"), default=0)
            number = decode_document("head", data, objects.where(HINT))["number"]
            self._demand(number <= newest, f"{HINT} names version {number} but the newest that is there is {newest}")

    def _versions(self) -> list[Version]:
        """Every version that can be read, each checked with all it needs."""
        found: list[Version] = []
        for number in self._numbers("versions/", 0):
            self._try(self._version, number, found)
        reach = Reach(self._stream)
        for version in found:
            self._chain(version)
            self._try(self._blobs, version, reach)
        return found

    def _version(self, number: int, found: list[Version]) -> None:
        found.append(self._stream.version(number))

    def _chain(self, version: Version) -> None:
        number, entries = version.number, version.entries
        self._demand(version.parent == (number - 1 if number else None), f"version {number} follows {version.parent}")
        names, arrivals = {entry.name for entry in entries}, {entry.arrival for entry in entries}
        self._demand(len(names) == len(arrivals) == len(entries), f"version {number} has a task or an arrival twice")
        unsettled = [entry.name for entry in entries if not version.is_settled(entry.arrival)]
        self._demand(not unsettled, f"version {number} has {unsettled}, whose arrivals it does not call settled")

    def _blobs(self, version: Version, reach: Reach) -> None:
        shared = reach.of_history([version])
        if version.number not in self._collected:
            shared |= reach.of(version)
            in_parallel(self._task, [entry for entry in version.entries if entry.record not in self._tasks])
        new = [reference for reference in shared if reference.digest not in self._needed]
        self._needed |= {reference.digest for reference in shared}
        in_parallel(lambda reference: self._try(self._decode, reference), new)
        if version.kind == "forget":
            left = [digest for digest in version.details["records"] if self._stream.objects.exists(key_of(digest))]
            task = version.details["task"]
            self._demand(not left, f"{task!r} was forgotten but not all of it is removed; `apd forget {task}` goes on")

    def _task(self, entry: TaskEntry) -> None:
        """Load it: reads every part, and checks that they fit each other."""
        if entry.record in self._buried:
            return
        self._tasks.add(entry.record)
        self._try(self._stream.load_entry, entry)

    def _decode(self, reference: Reference) -> None:
        """Read what loading tasks does not read."""
        records, digest = self._stream.records, reference.digest
        if reference.kind == "statistics":
            records.read_statistics(digest)
        elif reference.kind == "clustering":
            Clustering.from_json(records.read_json("clustering", digest))
        elif reference.kind == "report":
            records.read_json("consolidation", digest)
        elif reference.kind == "sigma":
            self._stream.blobs.read(digest)

    def _arrivals(self, versions: Sequence[Version], data: bool) -> int:
        numbers = self._numbers("arrivals/", 1)
        settled = max([versions[-1].watermark, *versions[-1].settled]) if versions else 0
        self._demand(settled <= len(numbers), f"arrival {settled} is settled but there are {len(numbers)} arrivals")
        buried = (entry.arrival for one in versions for entry in one.entries if entry.record in self._buried)
        self._forgotten = {*buried, *(one.details["arrival"] for one in versions if one.kind == "forget")}
        for number in numbers:
            self._try(self._arrival, number, data)
        return len(numbers)

    def _arrival(self, number: int, data: bool) -> None:
        """Its name stands for it, and its data are those that were accepted."""
        (arrival,) = self._stream.inbox.arrivals(number, number)
        if number in self._forgotten:
            return
        if not self._stream.inbox.stands_for(arrival.task, number):
            self._problems.append(
                f"names/{arrival.task}.json does not stand for arrival {number}, though not forgotten"
            )
            return
        for file, expected in arrival.files.items():
            key = f"tasks/{arrival.task}/{file}"
            found = {"size": self._stream.objects.stat(key).size}
            if data:
                found = measure(self._stream.task_folder(arrival.task), file)
            wrong = {fact: value for fact, value in found.items() if value != expected[fact]}
            self._demand(not wrong, f"{self._stream.objects.where(key)} has {wrong}, it was accepted with {expected}")

    def _documents(self, area: str, kind: str) -> int:
        keys = [listed.key for listed in self._stream.objects.list(area)]
        in_parallel(lambda key: self._try(self._document, kind, key), keys)
        return len(keys)

    def _document(self, kind: str, key: str) -> None:
        decode_document(kind, self._stream.objects.read(key), self._stream.objects.where(key))

    def _attempts(self) -> None:
        for listed in self._stream.objects.list("attempts/"):
            self._try(self._attempt, listed.key)

    def _attempt(self, key: str) -> None:
        decode = ATTEMPTS.get(key.rsplit("/", 1)[-1], decode_snapshot)
        decode(self._stream.objects.read(key), self._stream.objects.where(key))
