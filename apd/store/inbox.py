"""Arriving tasks: the inbox that people write into, and the arrivals, numbered once and for all.

    inbox/<folder>/...            submitted; complete once task.json is there; what else it holds is not kept
    inbox/<folder>/order.<ns>     when it was submitted (`apd.store.submission`)
    names/<task>.json             whose data the name stands for; created once, decides between two of the same name
    tasks/<task>/...              the accepted data
    arrivals/00000012.json        the order of arrival, without gaps
    rejected/<folder>/...         refused data, with reason.json

Accepting goes: claim the name, copy the data, append the arrival, empty the inbox folder. Killed anywhere, doing it
again completes it: the claim remembers the number after which its arrival has to be.
"""

import itertools
import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apd.data import Folder, TaskInfo, measure
from apd.errors import AlreadyExists, NotFound, TaskRejected, UnknownTask
from apd.store.blobs import in_parallel
from apd.store.formats import JSON, compact, decode_document, digest_of, encode_document
from apd.store.history import last_of
from apd.store.manifest import Version, now
from apd.store.objects import Objects, check_key, fetch_if_there, is_key, shown
from apd.store.progress import Progress, unheard
from apd.store.refusals import Refusals
from apd.store.submission import METADATA, ORDER, ObjectFolder, content, submit, suffixed

SETTLED = "settled.json"
REASON = "reason.json"


@dataclass(frozen=True, slots=True)
class Registration:
    """One accepted task."""

    task: str
    number: int
    """In the order of arrival, from 1."""
    info: TaskInfo
    files: dict[str, JSON]
    """{name: {"size", "sha256"}} of the data; empty for a task that was learned from memory."""


class Inbox:
    """The inbox and the arrivals of one stream."""

    def __init__(self, objects: Objects, head: Callable[[], Version]) -> None:
        self._objects = objects
        self._head = head
        self._refusals = Refusals(objects)

    def complete(self) -> list[str]:
        """Folders whose task.json is there, the one completed first first."""
        done = {folder: files for folder, files in self._listed().items() if METADATA in files and SETTLED not in files}
        return sorted(done, key=lambda folder: (done[folder][METADATA], _order(done[folder]), folder))

    def is_complete(self, folder: str) -> bool:
        """Whether the folder still waits to be looked at, and no run has dealt with it meanwhile."""
        settled = self._objects.exists(f"inbox/{folder}/{SETTLED}")
        return not settled and self._objects.exists(f"inbox/{folder}/{METADATA}")

    def incomplete(self) -> list[str]:
        """Folders still being written."""
        return sorted(name for name, files in self._listed().items() if not {METADATA, SETTLED} & files.keys())

    def misnamed(self) -> list[str]:
        """Keys in the inbox that no object of a stream can have; nothing of them is looked at."""
        return sorted(shown(listed.key) for listed in self._objects.list("inbox/") if not is_key(listed.key))

    def folder(self, folder: str) -> ObjectFolder:
        """A submitted folder, to read."""
        return ObjectFolder(self._objects, f"inbox/{folder}")

    def submit(self, path: Path, progress: Progress = unheard) -> str:
        """Upload a local task folder, its task.json last; returns the name it has in the inbox.

        Interrupted and done again, it goes on in the same place; another folder's name gets a suffix.
        """
        return submit(self._objects, path, progress)

    def has_claim(self, name: str) -> bool:
        """Whether the name stands for a task: one was accepted, and not forgotten since."""
        return self._objects.exists(claim_key(name))

    def knows(self, name: str) -> bool:
        """Whether a task of that name was accepted, or a folder of that name waits in the inbox."""
        return self.has_claim(name) or self._objects.exists(f"inbox/{name}/{METADATA}")

    def require_ahead(self, name: str) -> None:
        """Raise TaskRejected for a task that a rollback took out: it is settled, so no later version would have it."""
        claim, head = self._read_claim(name), self._head()
        found = None if claim is None or head.has(name) else self._registered(claim)
        if found is not None and head.is_settled(found.number):
            raise TaskRejected(
                f"a rollback took the task {name!r} out; forget it first (`apd forget {name}`), then it can come again"
            )

    def accept(self, folder: str, info: TaskInfo) -> int:
        """Register a validated folder; returns its arrival number, the same one however often it is called.

        Only the files that its task.json names are kept. Raises TaskRejected when the name stands for other data
        already, NotFound when another run deals with the folder at this moment.
        """
        found = content(self._objects, f"inbox/{folder}")
        claim = self._claim(info, _measured(self.folder(folder), info))
        self.require_ahead(info.name)
        data = sorted(set(info.files.values()))
        in_parallel(lambda name: self._objects.copy(f"inbox/{folder}/{name}", f"tasks/{info.name}/{name}"), data)
        self._objects.copy(f"inbox/{folder}/{METADATA}", f"tasks/{info.name}/{METADATA}")
        number = self._append(claim)
        self._empty(folder, found)
        return number

    def register(self, info: TaskInfo) -> int:
        """Number a task whose data is not kept in the store; the same one however often it is called."""
        return self._append(self._claim(info, {}))

    def check_name(self, folder: Folder, info: TaskInfo) -> None:
        """Raise TaskRejected when the name stands for other data than those in this folder, or cannot come again."""
        claim = self._read_claim(info.name)
        if claim is not None and claim["fingerprint"] != _fingerprint(info, _measured(folder, info)):
            raise _taken(info.name, claim)
        self.require_ahead(info.name)

    def reject(self, folder: str, reason: str) -> str:
        """Move a folder to the rejected area, with the reason in a file; returns where it is."""
        found = content(self._objects, f"inbox/{folder}")
        place = suffixed(folder) if content(self._objects, f"rejected/{folder}") else folder
        in_parallel(lambda name: self._objects.copy(f"inbox/{folder}/{name}", f"rejected/{place}/{name}"), found)
        described = {"folder": folder, "reason": reason, "rejected": now()}
        self._objects.put(f"rejected/{place}/{REASON}", json.dumps(described, indent=2).encode())
        self._empty(folder, found)
        return self._objects.where(f"rejected/{place}")

    def rejected(self) -> dict[str, str]:
        """Reasons by folder."""
        return {folder: self._reason(f"rejected/{folder}/{REASON}") for folder in self.rejected_folders()}

    def rejected_folders(self) -> list[str]:
        """Their names alone, which takes no reading."""
        paths = [item.key.split("/") for item in self._objects.list("rejected/")]
        return [path[1] for path in paths if path[2:] == [REASON]]

    def _reason(self, key: str) -> str:
        """For people, who may have written it."""
        try:
            return str(json.loads(self._objects.read(key))["reason"])
        except (ValueError, TypeError, KeyError):
            return f"{self._objects.where(key)} gives no reason that can be read"

    def waiting(self) -> list[Registration]:
        """Accepted tasks that no version has settled and no gate has refused, in order of arrival."""
        return self._unsettled(refused=False)

    def refused(self) -> list[Registration]:
        """Accepted tasks that were trained and that a gate has refused, in order of arrival."""
        return self._unsettled(refused=True)

    def _unsettled(self, refused: bool) -> list[Registration]:
        """Reads the arrivals that no version has settled, and none besides, however many came after them."""
        known, head = self._refusals.tasks(), self._head()
        found: list[Registration] = []
        for number in itertools.count(head.watermark + 1):
            if head.is_settled(number):
                continue
            if (body := self._arrival(number)) is None:
                break
            found.append(_registration(body, number))
        return [one for one in found if (one.task in known) == refused]

    def arrivals(self, first: int = 1, last: int | None = None) -> Iterator[Registration]:
        """Accepted tasks in order of arrival, from number `first` to `last` or the end."""
        for number in itertools.count(first):
            body = None if last is not None and number > last else self._arrival(number)
            if body is None:
                return
            yield _registration(body, number)

    def registration(self, name: str) -> Registration:
        """The accepted task of that name. Raises UnknownTask."""
        claim = self._read_claim(name)
        found = None if claim is None else self._registered(claim)
        if found is not None:
            return found
        raise UnknownTask(f"no task {name!r} has arrived in {self._objects.url}")

    def _registered(self, claim: dict[str, JSON]) -> Registration | None:
        """The arrival of the claim, None when it was not numbered yet."""
        number = int(claim["after"]) + 1
        while (body := self._arrival(number)) is not None:
            if body["id"] == claim["id"]:
                return _registration(body, number)
            number += 1
        return None

    def stands_for(self, task: str, arrival: int) -> bool:
        """Whether the task's name still means this arrival: it was not forgotten, nor accepted again."""
        try:
            return self.registration(task).number == arrival
        except UnknownTask:
            return False

    def task_folder(self, name: str) -> ObjectFolder:
        """The accepted data of a task, to read."""
        registration = self.registration(name)
        if not registration.files:
            raise NotFound(f"the data of task {name!r} is not in {self._objects.url}: it was learned from memory")
        return ObjectFolder(self._objects, f"tasks/{name}", list(registration.files))

    def remove(self, name: str, arrival: int) -> bool:
        """Remove the data and attempts of a forgotten arrival; False when its name stands for a later one."""
        claim = self._read_claim(name)
        if claim is not None and claim["after"] >= arrival:
            return False
        for prefix in (f"tasks/{name}/", f"attempts/{name}/"):
            in_parallel(self._objects.delete, [listed.key for listed in self._objects.list(prefix)])
        self._refusals.settle(name)
        self._objects.delete(claim_key(name))
        return True

    def _read_claim(self, name: str) -> dict[str, JSON] | None:
        key = claim_key(name)
        data = fetch_if_there(self._objects, key)
        return None if data is None else decode_document("name", data, self._objects.where(key))

    def _claim(self, info: TaskInfo, files: dict[str, JSON]) -> dict[str, JSON]:
        """The claim on the task's name: a new one, or the one there is if it is for the same data."""
        fingerprint = _fingerprint(info, files)
        last = last_of(lambda number: self._objects.exists(arrival_key(number)), self._head().watermark)
        fresh = {"info": info.to_json(), "files": files, "fingerprint": fingerprint, "after": last}
        fresh |= {"id": secrets.token_hex(16), "created": now()}
        try:
            self._objects.create(claim_key(info.name), encode_document("name", fresh))
        except AlreadyExists:
            claim = self._read_claim(info.name)
            if claim is None or claim["fingerprint"] != fingerprint:
                raise _taken(info.name, claim) from None
            return claim
        return fresh

    def _append(self, claim: dict[str, JSON]) -> int:
        """The claim's place in the order of arrival; it gets the next free one if it has none."""
        number = int(claim["after"]) + 1
        data = encode_document("arrival", {key: claim[key] for key in ("id", "info", "files", "created")})
        while True:
            try:
                self._objects.create(arrival_key(number), data)
            except AlreadyExists:
                number += 1
            else:
                return number

    def _arrival(self, number: int) -> dict[str, JSON] | None:
        key = arrival_key(number)
        data = fetch_if_there(self._objects, key)
        return None if data is None else decode_document("arrival", data, self._objects.where(key))

    def _empty(self, folder: str, names: Iterable[str]) -> None:
        """Remove a folder that has been dealt with; the marker keeps what is left of it from being looked at again."""
        self._objects.put(f"inbox/{folder}/{SETTLED}", compact({"settled": now()}))
        in_parallel(lambda name: self._objects.delete(f"inbox/{folder}/{name}"), names)
        self._objects.delete(f"inbox/{folder}/{SETTLED}")

    def sweep(self) -> None:
        """Empty the folders whose removal was interrupted."""
        for folder, names in self._listed().items():
            if SETTLED in names:
                self._empty(folder, [name for name in names if name != SETTLED])

    def _listed(self) -> dict[str, dict[str, float]]:
        """{folder: {file: modified}} of the inbox, files in its sub-folders included."""
        found: dict[str, dict[str, float]] = {}
        for listed in self._objects.list("inbox/"):
            _, folder, *rest = listed.key.split("/")
            if rest and is_key(listed.key):
                found.setdefault(folder, {})["/".join(rest)] = listed.modified
        return found


def _order(names: Iterable[str]) -> str:
    """When the folder was submitted, by the clock of who did; other uploaders say nothing."""
    return max((name for name in names if name.startswith(ORDER)), default="")


def claim_key(name: str) -> str:
    """Where it says which data the name stands for."""
    return check_key(f"names/{name}.json")


def arrival_key(number: int) -> str:
    """Where the arrival is."""
    return f"arrivals/{number:08d}.json"


def _measured(folder: Folder, info: TaskInfo) -> dict[str, JSON]:
    """{name: {"size", "sha256"}} of what belongs to a task in its folder."""
    names = sorted({METADATA, *info.files.values()})
    return dict(zip(names, in_parallel(lambda name: measure(folder, name), names), strict=True))


def _fingerprint(info: TaskInfo, files: dict[str, JSON]) -> str:
    """Of everything that a task arrives with."""
    return digest_of(compact({"info": info.to_json(), "files": files}))


def _taken(name: str, claim: dict[str, JSON] | None) -> TaskRejected:
    when = f"arrived on {claim['created']}" if claim else "was just forgotten"
    return TaskRejected(f"a task named {name!r} with other data {when}; choose another name, or forget that task first")


def _registration(body: dict[str, Any], number: int) -> Registration:
    info = TaskInfo.from_json(body["info"])
    return Registration(info.name, number, info, body["files"])
