"""A stream of tasks in object storage: the one door to everything it holds.

    stream.json               its configuration, written last at creation
    head.json                 hint where to look for the newest version
    versions/00000007.json    manifests                               apd.store.manifest, history
    blobs/ab/abcdef...        content-addressed data                  blobs, sigmas, records
    inbox, tasks, rejected                                            inbox
    names, arrivals                                                   arrivals
    attempts/<task>/...       where training goes on                  attempts
    evaluations/<key>.json    accuracies by theta key                 evaluations
    comparisons/<task>.json   what other methods reach on a task      evaluations
    sizes/history.json        how large the versions are              evaluations
    forgotten, collected, pins    what is gone on purpose, or must stay    marks
    refused/...               what a gate kept out          refusals
    reports/<version>.html    for people
    probes/...                of the moment

Any process may die at any moment: what was committed stays, and a commit is one conditional write.
"""

import functools
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from apd.config import StreamConfig, from_json, to_json
from apd.data import TaskData, TaskInfo, load_task
from apd.errors import AlreadyExists, CorruptObject, Forgotten, NotFound, TaskRejected, UnknownTask
from apd.state import FIRST, UNCLUSTERED, Arrival, Clustering, Consolidation, Learned, Snapshot, TaskState, Tensors
from apd.store import proposals
from apd.store.arrivals import arrival_key
from apd.store.attempts import REFIT, Attempts, is_of_a_task
from apd.store.blobs import Blobs, key_of
from apd.store.commits import Commits
from apd.store.connect import connect
from apd.store.evaluations import Measurements
from apd.store.forget import Forgetting, Removal
from apd.store.formats import JSON, decode_document, encode_document
from apd.store.history import History, version_key
from apd.store.inbox import Inbox
from apd.store.manifest import SigmaRef, TaskEntry, Version, now
from apd.store.marks import Marks
from apd.store.objects import Objects, normal_url, stream_name
from apd.store.proposals import Candidate, Proposal
from apd.store.records import Records
from apd.store.refusals import Refusals
from apd.store.submission import ObjectFolder

CONFIG = "stream.json"

RETIRED = "drift"
"""A setting of `learning` that streams made before it was dropped still have; it changed nothing."""


class Stream:
    """One stream. Cheap to open, safe to use from many threads and processes, picklable (it is opened again)."""

    def __init__(self, objects: Objects, config: StreamConfig, storage_options: Mapping[str, Any] | None) -> None:
        """Use `create` or `open`."""
        self.url = objects.url
        self.name = stream_name(self.url)
        self.config = config
        self.storage_options = storage_options
        self.objects = objects
        self.blobs = Blobs(objects)
        self.records = Records(self.blobs)
        self.history = History(objects, self.blobs)
        self._commits = Commits(self.history, self.records)
        self._attempts = Attempts(objects)
        self.inbox = Inbox(objects, self.head)
        self.evaluations = Measurements(objects, "evaluation")
        self.comparisons = Measurements(objects, "comparison")
        self.sizes = Measurements(objects, "size")
        self.marks = Marks(objects)
        self.refusals = Refusals(objects)

    @classmethod
    def create(cls, url: str, config: StreamConfig, *, storage_options: Mapping[str, Any] | None = None) -> "Stream":
        """A new empty stream.

        Raises AlreadyExists when there is one, or a part of one that was not copied to its end; UnsafeStore when the
        server does not honour put-if-absent.
        """
        objects = connect(url, storage_options)
        stream = cls(objects, config, storage_options)
        parts = [key for key in (version_key(1), arrival_key(1)) if objects.exists(key)]
        if parts and not objects.exists(CONFIG):
            raise AlreadyExists(
                f"{stream.url} holds {parts[0]} of a stream that was not copied to its end; choose another place, or "
                "copy it there again"
            )
        stream.history.require_safe_store()
        first = Version(0, None, "create", f"created {stream.name}", "0" * 32, now(), consolidated=0)
        stream.history.create_first(first)
        try:
            body = {"config": to_json(config), "created": first.created, "id": secrets.token_hex(16)}
            objects.create(CONFIG, encode_document("stream", body))
        except AlreadyExists:
            raise AlreadyExists(f"there is a stream in {stream.url} already; choose another place or open it") from None
        return stream

    @classmethod
    def open(cls, url: str, *, storage_options: Mapping[str, Any] | None = None) -> "Stream":
        """An existing stream. Raises NotFound."""
        objects = connect(url, storage_options)
        try:
            body = decode_document("stream", objects.read(CONFIG), objects.where(CONFIG))
        except NotFound as error:
            raise NotFound(f"there is no stream in {normal_url(url)}; `apd init` makes one ({error})") from None
        body["config"]["learning"].pop(RETIRED, None)
        return cls(objects, from_json(StreamConfig, body["config"]), storage_options)

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(Stream.open, self.url, storage_options=self.storage_options), ()

    def head(self) -> Version:
        """The newest version: no listing, the same few requests whatever the number of tasks."""
        return self.history.head()

    def version(self, number: int) -> Version:
        """Raises NotFound."""
        return self.history.version(number)

    def log(self, newest_first: bool = True, limit: int | None = None) -> Iterator[Version]:
        """The versions, at most `limit` of them."""
        return self.history.log(newest_first, limit)

    def arrival(self, version: Version) -> Arrival:
        """What a task arriving at this version needs to know."""
        if version.sigma is None or version.statistics is None:
            return FIRST
        pull = self.records.read_statistics(version.statistics)
        return Arrival(self.load_sigma(version.sigma), pull, len(version.entries))

    def forgotten_since(self, version: Version) -> tuple[str, ...]:
        """Names of the tasks that a version lists and that were forgotten afterwards: they cannot be loaded."""
        buried = self.marks.buried()
        return tuple(entry.name for entry in version.entries if entry.record in buried)

    def load_sigma(self, ref: SigmaRef) -> Tensors:
        """A shared sigma; do not change its tensors, they are kept in memory for the next caller."""
        return self.records.sigmas.load(ref)

    def load_task(self, version: Version, name: str) -> TaskState:
        """A task as it was in a version. Raises UnknownTask when it was forgotten since, or was never there."""
        entry = version.entry(name)
        try:
            return self.load_entry(entry)
        except NotFound as error:
            raise self.marks.explain(error, entry, version.number) from None

    def load_entry(self, entry: TaskEntry) -> TaskState:
        """The task of an entry."""
        return self.records.load_task(entry.record)

    def record(self, entry: TaskEntry) -> dict[str, JSON]:
        """The stored record of an entry: digests of its parts, info and metrics."""
        return self.records.read_record(entry.record)

    def blob_bytes(self, digest: str) -> int:
        """Size of a blob, as stored."""
        return self.objects.stat(key_of(digest)).size

    def sparse_nnz(self, digest: str) -> int:
        """Non-zeros in a blob of sparse tensors."""
        return sum(part.nnz for part in self.records.read_sparse(digest).values())

    def clustering(self, version: Version) -> Clustering:
        """What the next consolidation starts from."""
        if version.clustering is None:
            return UNCLUSTERED
        return Clustering.from_json(self.records.read_json("clustering", version.clustering))

    def consolidation_report(self, version: Version) -> JSON:
        """Per parameter, what the consolidation that made this version did."""
        return self.records.read_json("consolidation", version.details["blobs"]["report"])["parameters"]

    def write_candidate(
        self,
        learned: Learned,
        *,
        base: Version,
        info: TaskInfo,
        metrics: Mapping[str, JSON],
        arrival: int | None = None,
    ) -> Candidate:
        """Store all that a training produced; the candidate names it.

        `arrival`: number of the one that was trained, None for that of the task's name. Raises Forgotten when the name
        does not stand for it any more; it is looked for afterwards as well.
        """
        number = self.inbox.registration(info.name).number if arrival is None else arrival
        self.require_arrival(info.name, number)
        candidate = proposals.write_candidate(self.records, learned, base, info, number, metrics)
        self._attempts.offer(candidate)
        try:
            self.require_arrival(info.name, number)
        except Forgotten:
            self._attempts.withdraw(info.name)
            raise
        return candidate

    def require_arrival(self, task: str, number: int | None) -> None:
        """Raises Forgotten when the task's name does not stand for this arrival any more; None: for any."""
        if not (self.inbox.has_claim(task) if number is None else self.inbox.stands_for(task, number)):
            raise Forgotten(f"task {task!r} was forgotten meanwhile")

    def commit_candidate(self, candidate: Candidate) -> Version:
        """Make it part of a new version, re-based where others were first; an arrival is never added twice.

        Raises UnknownTask when a rollback took it out, Forgotten when its name does not stand for it any more.
        """
        try:
            version = self._commits.candidate(candidate)
        except UnknownTask as error:
            if not self.inbox.stands_for(candidate.task, candidate.arrival):
                raise Forgotten(str(error)) from None
            raise
        self._attempts.withdraw(candidate.task)
        self.refusals.settle(candidate.task)
        return version

    def write_consolidation(
        self,
        outcome: Consolidation,
        *,
        base: Version,
        kind: Literal["consolidate", "prune"] = "consolidate",
        seconds: float | None = None,
    ) -> Proposal:
        """Store all tasks in their new form; the proposal names them. seconds: that working the outcome out took."""
        return proposals.write_consolidation(self.records, outcome, base, kind, seconds)

    def commit_consolidation(self, proposal: Proposal) -> Version:
        """Make it the head. Raises AlreadyExists when another version came after its base: consolidate again."""
        version = self._commits.consolidation(proposal)
        if version.details.get("refit"):
            self._attempts.drop(REFIT)
        return version

    def commit_forget(self, name: str) -> Version:
        """A version without the task, every other record untouched; then its blobs and data go from every version.

        Also of a task that waits or was refused. Raises UnknownTask when none of that name was ever accepted.
        """
        version = Forgetting(self.objects, self.history, self.inbox).commit(name)
        Removal(self.objects, self.inbox).remove(version)
        return version

    def is_forgotten(self, name: str) -> bool:
        """Whether `commit_forget` would make no new version. Raises UnknownTask as that does."""
        return Forgetting(self.objects, self.history, self.inbox).is_done(name)

    def task_folder(self, name: str) -> ObjectFolder:
        """The data of an accepted task, to read."""
        return self.inbox.task_folder(name)

    def load_data(self, name: str) -> TaskData:
        """The samples of an accepted task. Raises CorruptObject when they cannot be read any more."""
        try:
            return load_task(self.task_folder(name), self.config)
        except TaskRejected as error:
            place = self.objects.where(f"tasks/{name}")
            advice = f"put back what was there (`apd verify` names every file that has changed), or `apd forget {name}`"
            raise CorruptObject(f"the data of task {name!r} in {place} are damaged: {error}; {advice}") from None

    def task_info(self, name: str) -> TaskInfo:
        """The description of an accepted task."""
        return self.inbox.registration(name).info

    def tasks_ahead(self, name: str, version: Version) -> int:
        """How many tasks arrived before this one and are not settled in that version: they train beside it."""
        number = self.inbox.registration(name).number
        return sum(not version.is_settled(earlier) for earlier in range(version.watermark + 1, number))

    def begin_attempt(self, task: str, base: int) -> int:
        """The version that the task is trained on: `base`, or what an earlier attempt at it decided."""
        return self._attempts.begin(task, base)

    def save_attempt(self, task: str, snapshot: Snapshot, **extra: JSON) -> None:
        """Save where a training is; `extra` is kept with the snapshot's values, a task's `arrival` among them.

        Raises Forgotten when the task's name does not stand for that arrival any more. It is looked for afterwards:
        what was saved while the task was forgotten goes as well.
        """
        self._attempts.save(task, snapshot, extra)
        if not is_of_a_task(task):
            return
        try:
            self.require_arrival(task, extra.get("arrival"))
        except Forgotten:
            if self.inbox.has_claim(task):
                self._attempts.discard(task)  # the rest belongs to what came later under the name
            else:
                self._attempts.clear(task)
            raise

    def load_attempt(self, task: str) -> Snapshot | None:
        """The last saved attempt of a task, None when there is none."""
        return self._attempts.load(task)

    def load_candidate(self, task: str) -> Candidate | None:
        """What a finished training of the task left for a commit that has not happened yet."""
        return self._attempts.offered(task)

    def clear_attempt(self, task: str) -> None:
        """Remove the saved attempt of a task."""
        self._attempts.clear(task)

    def report_key(self, version: int) -> str:
        """Key of a version's report."""
        return f"reports/{version:08d}.html"

    def save_report(self, version: int, page: str) -> str:
        """Store a version's report; returns its full name."""
        self.objects.put(self.report_key(version), page.encode())
        return self.objects.where(self.report_key(version))
