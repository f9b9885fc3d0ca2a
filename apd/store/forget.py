"""Forgetting a task: a version without it, then its blobs and data go, from every version.

What remains: its name, classes and accuracies in old manifests, its share in sigma, which all tasks use, and in the
sigma_g of clusters it was a member of. The commit comes first; the removal follows and can be repeated until it is
complete.
"""

import dataclasses
import hashlib
import secrets
from collections.abc import Iterator, Sequence

from apd.errors import StateError
from apd.state import Clustering
from apd.store.blobs import Blobs, in_parallel, key_of
from apd.store.commits import successor
from apd.store.evaluations import Measurements
from apd.store.formats import JSON, decode_document, encode_document
from apd.store.history import History
from apd.store.inbox import Inbox
from apd.store.manifest import TaskEntry, Version
from apd.store.objects import Objects, fetch_if_there
from apd.store.proposals import write_sums
from apd.store.records import Records


def tombstone_key(record: str) -> str:
    """Where it is written that a record was removed on purpose."""
    return f"forgotten/{record}.json"


class Forgetting:
    """Forgets tasks of one stream."""

    def __init__(self, objects: Objects, blobs: Blobs, history: History, records: Records, inbox: Inbox) -> None:
        self._objects = objects
        self._blobs = blobs
        self._history = history
        self._records = records
        self._inbox = inbox

    def forget(self, name: str) -> Version:
        """Commit a version without the task and remove what is the task's alone.

        Repeated after an interruption, it completes the removal. Raises UnknownTask when no version had the task.
        """
        commit_id = secrets.token_hex(16)
        version = self._history.commit(lambda head: self._without(head, name, commit_id))
        self._remove(version)
        return version

    def _without(self, head: Version, name: str, commit_id: str) -> Version:
        last = self._last_with(head, name)
        if last.kind == "forget" and last.details["task"] == name:
            return last
        gone = last.entry(name)
        kept = tuple(entry for entry in head.entries if entry.name != name)
        details = self._details(gone, head.entries, kept)
        return dataclasses.replace(
            successor(head, "forget", f"forgot {name}", commit_id, details),
            entries=kept,
            sigma=head.sigma if kept else None,
            statistics=self._statistics(kept),
            clustering=self._clustering(head, name) if kept else None,
        )

    def _last_with(self, head: Version, name: str) -> Version:
        """The newest version that has the task, or that forgot it."""
        for version in self._history.log():
            if version.has(name) or (version.kind == "forget" and version.details["task"] == name):
                return version
        head.entry(name)  # raises UnknownTask with the names that come near
        raise AssertionError

    def _details(self, gone: TaskEntry, before: Sequence[TaskEntry], after: Sequence[TaskEntry]) -> dict[str, JSON]:
        found = list(self._everywhere(gone))
        evidence = {"before": _fingerprint(before, gone.name), "after": _fingerprint(after, gone.name)}
        if evidence["before"] != evidence["after"]:
            raise StateError(f"forgetting {gone.name!r} would change another task's record")
        return {
            "task": gone.name,
            "arrival": gone.arrival,
            "records": sorted({entry.record for entry in found}),
            "theta_keys": sorted({entry.theta_key for entry in found}),
            "unchanged": len(after),
            "evidence": evidence,
        }

    def _everywhere(self, gone: TaskEntry) -> Iterator[TaskEntry]:
        """The task in every version that has it."""
        for version in self._history.log():
            yield from (entry for entry in version.entries if (entry.name, entry.arrival) == (gone.name, gone.arrival))

    def _statistics(self, kept: Sequence[TaskEntry]) -> str | None:
        """Summed anew, since taking one task's masks off a rounded sum would leave a trace of it."""
        if not kept:
            return None
        masks = in_parallel(lambda entry: self._records.read_masks(self._records.read_record(entry.record)), kept)
        return write_sums(self._records, masks)

    def _clustering(self, head: Version, name: str) -> str | None:
        if head.clustering is None:
            return None
        old = Clustering.from_json(self._records.read_json("clustering", head.clustering))
        members = {
            parameter: tuple(tuple(task for task in cluster if task != name) for cluster in clusters)
            for parameter, clusters in old.members.items()
        }
        return self._records.write_json("clustering", Clustering(old.rounds, members).to_json())

    def _remove(self, version: Version) -> None:
        details = version.details
        buried = {"task": details["task"], "version": version.number, "created": version.created}
        for digest in details["records"]:
            self._objects.put(tombstone_key(digest), encode_document("forgotten", buried))
            self._remove_record(digest)
        for theta_key in details["theta_keys"]:
            Measurements(self._objects, "evaluation").remove(theta_key)
        Measurements(self._objects, "comparison").remove(details["task"])
        self._inbox.remove(details["task"], details["arrival"])

    def _remove_record(self, digest: str) -> None:
        """The record last: as long as it is there, it says what is left to remove."""
        data = fetch_if_there(self._objects, key_of(digest))
        if data is None:
            return
        record = self._records.read_record(digest)
        for part in (record["tensors"], record["tau"], record["step"]):
            if part is not None:
                self._blobs.delete(part)
        self._blobs.delete(digest)


def _fingerprint(entries: Sequence[TaskEntry], without: str) -> str:
    lines = (f"{entry.name} {entry.record} {entry.theta_key}\n" for entry in entries if entry.name != without)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def explain_missing(objects: Objects, entry: TaskEntry) -> str | None:
    """When the task was forgotten, if that is why its record is not there."""
    key = tombstone_key(entry.record)
    data = fetch_if_there(objects, key)
    if data is None:
        return None
    body = decode_document("forgotten", data, objects.where(key))
    return f"task {body['task']!r} was forgotten in version {body['version']}, on {body['created']}"
