"""Forgetting a task: a version without it, then its blobs and data go, from every version.

A task that arrived and that no version has, because it waits or a gate refused it, is forgotten in the same way: by a
version that differs in nothing but this, then what was trained of it goes, and its data. So is one whose acceptance
was broken off: it is numbered first.

What remains: its name, classes and accuracies in old manifests, its share in sigma, which all tasks use, and in the
sigma_g of clusters it was a member of. The commit comes first; the removal follows and can be repeated until it is
complete. It goes by what the blobs themselves say, so that it finds those of trainings and consolidations that were
refused or given up, of which nothing else tells.
"""

import dataclasses
import hashlib
import secrets
from collections.abc import Iterator, Sequence

from apd.errors import NotFound, StateError, UnknownTask
from apd.state import Clustering
from apd.store.arrivals import Registration
from apd.store.attempts import SHARED, Attempts
from apd.store.blobs import Blobs, in_parallel
from apd.store.commits import successor
from apd.store.evaluations import Measurements
from apd.store.formats import JSON
from apd.store.history import History
from apd.store.inbox import Inbox
from apd.store.manifest import TaskEntry, Version, settle
from apd.store.marks import Marks
from apd.store.objects import Objects
from apd.store.proposals import Candidate, write_sums
from apd.store.records import Records
from apd.store.refusals import Refusals

OWN = ("tensors", "tau", "step")
"""Parts of a record that are the task's alone."""


class Forgetting:
    """Decides on versions without a task."""

    def __init__(self, objects: Objects, history: History, inbox: Inbox) -> None:
        self._objects = objects
        self._history = history
        self._inbox = inbox
        self._records = Records(Blobs(objects))

    def commit(self, name: str) -> Version:
        """The version without the task; the one there is when it was forgotten before. Raises UnknownTask."""
        commit_id = secrets.token_hex(16)
        self._inbox.number_begun(name)
        return self._history.commit(lambda head: self._without(head, name, commit_id))

    def is_done(self, name: str) -> bool:
        """Whether it is forgotten, so that forgetting it again only goes on with the removal. Raises UnknownTask."""
        head = self._history.head()
        if self._aside(head, name) is not None or self._inbox.is_begun(name):
            return False
        return _forgets(self._last_with(head, name), name)

    def _without(self, head: Version, name: str, commit_id: str) -> Version:
        aside = self._aside(head, name)
        if aside is not None:
            return self._never_learned(head, aside, commit_id)
        last = self._last_with(head, name)
        if _forgets(last, name):
            return last
        gone = last.entry(name)
        kept = tuple(entry for entry in head.entries if entry.name != name)
        details = _details(name, gone.arrival, list(self._everywhere(gone)), head.entries, kept)
        return dataclasses.replace(
            successor(head, "forget", f"forgot {name}", commit_id, details),
            entries=kept,
            sigma=head.sigma if kept else None,
            statistics=sums_of(self._records, kept, commit_id),
            clustering=self._clustering(head, name, commit_id) if kept else None,
        )

    def _aside(self, head: Version, name: str) -> Registration | None:
        """The arrival that the name stands for, if no version has settled it."""
        try:
            found = self._inbox.registration(name)
        except UnknownTask:
            return None
        return None if head.is_settled(found.number) else found

    def _never_learned(self, head: Version, arrival: Registration, commit_id: str) -> Version:
        candidate = self._trained(arrival)
        found = [candidate.entry] if candidate else []
        details = _details(arrival.task, arrival.number, found, head.entries, head.entries)
        aside = {"blobs_aside": sorted(self._alone(candidate)) if candidate else []}
        watermark, settled = settle(head, arrival.number)
        message = f"forgot {arrival.task}, which was never learned"
        following = successor(head, "forget", message, commit_id, details | aside)
        return dataclasses.replace(following, watermark=watermark, settled=settled)

    def _trained(self, arrival: Registration) -> Candidate | None:
        """What training came to before the task was refused, or before its commit."""
        refusal = Refusals(self._objects).task(arrival.task)
        candidate = refusal.candidate if refusal else Attempts(self._objects).offered(arrival.task)
        return candidate if candidate and candidate.arrival == arrival.number else None

    def _alone(self, candidate: Candidate) -> set[str]:
        """Its sigma and sums, as far as no version has them."""
        own = {candidate.sigma.base, candidate.sigma.delta, candidate.statistics}
        for version in self._history.log():
            own -= {version.statistics, *(dataclasses.astuple(version.sigma) if version.sigma else ())}
        return {digest for digest in own if digest is not None}

    def _last_with(self, head: Version, name: str) -> Version:
        """The newest version that has the task, or that forgot it."""
        for version in self._history.log():
            if version.has(name) or _forgets(version, name):
                return version
        if places := self._inbox.places_of(name):
            where = " and ".join(self._objects.where(place) for place in places)
            raise UnknownTask(f"no task {name!r} was accepted; `apd withdraw {name}` removes {where}")
        raise head.unknown(name)

    def _everywhere(self, gone: TaskEntry) -> Iterator[TaskEntry]:
        """The task in every version that has it."""
        for version in self._history.log():
            yield from (entry for entry in version.entries if (entry.name, entry.arrival) == (gone.name, gone.arrival))

    def _clustering(self, head: Version, name: str, commit_id: str) -> str | None:
        if head.clustering is None:
            return None
        old = Clustering.from_json(self._records.read_json("clustering", head.clustering))
        members = {
            parameter: tuple(tuple(task for task in cluster if task != name) for cluster in clusters)
            for parameter, clusters in old.members.items()
        }
        return self._records.write_json("clustering", Clustering(old.rounds, members).to_json() | {"commit": commit_id})


def _forgets(version: Version, name: str) -> bool:
    """Whether this version is the one that forgot the task."""
    return version.kind == "forget" and bool(version.details["task"] == name)


def sums_of(records: Records, entries: Sequence[TaskEntry], commit_id: str) -> str | None:
    """Statistics of these tasks, summed anew: taking masks off a rounded sum would leave a trace of them."""
    if not entries:
        return None
    masks = in_parallel(lambda entry: records.read_masks(records.read_record(entry.record)), entries)
    return write_sums(records, masks, commit_id)


def _details(
    name: str, arrival: int, found: Sequence[TaskEntry], before: Sequence[TaskEntry], after: Sequence[TaskEntry]
) -> dict[str, JSON]:
    """What is to be removed (`found`: the task in every form), and that every other task's record stays the same."""
    evidence = {"before": _fingerprint(before, name), "after": _fingerprint(after, name)}
    if evidence["before"] != evidence["after"]:
        raise StateError(f"forgetting {name!r} would change another task's record")
    return {
        "task": name,
        "arrival": arrival,
        "records": sorted({entry.record for entry in found}),
        "theta_keys": sorted({entry.theta_key for entry in found}),
        "unchanged": len(after),
        "evidence": evidence,
    }


def _fingerprint(entries: Sequence[TaskEntry], without: str) -> str:
    lines = (f"{entry.name} {entry.record} {entry.theta_key}\n" for entry in entries if entry.name != without)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class Removal:
    """Removes what was a forgotten task's alone."""

    def __init__(self, objects: Objects, inbox: Inbox) -> None:
        self._objects = objects
        self._blobs = Blobs(objects)
        self._records = Records(self._blobs)
        self._marks = Marks(objects)
        self._inbox = inbox

    def remove(self, version: Version) -> None:
        """Everything of the task that this version forgot; may be repeated."""
        details = version.details
        for digest in details["records"]:
            self._marks.bury(digest, details["task"], version.number, version.created)
            self._remove_record(digest)
        for theta_key in details["theta_keys"]:
            Measurements(self._objects, "evaluation").remove(theta_key)
        in_parallel(self._blobs.delete, [*details.get("blobs_aside", []), *self._own(version)])
        Attempts(self._objects).drop(SHARED)
        if self._inbox.remove(details["task"], details["arrival"]):
            Measurements(self._objects, "comparison").remove(details["task"])

    def _own(self, version: Version) -> list[str]:
        """Every blob that carries the arrival: of versions, and of what was trained, refused or given up."""
        stored, arrival = list(self._blobs.stored()), (version.details["task"], version.details["arrival"])
        owners = in_parallel(self._blobs.owner, stored)
        mine = ((owner.get("task"), owner.get("arrival")) == arrival for owner in owners)
        return [digest for digest, is_mine in zip(stored, mine, strict=True) if is_mine]

    def _remove_record(self, digest: str) -> None:
        """The record last: as long as it is there, it says what is left to remove."""
        try:
            record = self._records.read_record(digest)
        except NotFound:
            return
        in_parallel(self._blobs.delete, [record[part] for part in OWN if record[part] is not None])
        self._blobs.delete(digest)
