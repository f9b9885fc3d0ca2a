"""The order of arrival: which data a task's name stands for, and a number for each accepted task, once and for all.

    names/<task>.json             whose data the name stands for; created once, decides between two of the same name
    arrivals/00000012.json        the order of arrival, without gaps

A name is claimed first, then the arrival is appended. Killed between the two, appending again completes it: the claim
remembers the number after which its arrival has to be.
"""

import itertools
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from apd.data import TaskInfo
from apd.errors import AlreadyExists, TaskRejected, UnknownTask
from apd.store.blobs import in_parallel
from apd.store.formats import JSON, compact, decode_document, digest_of, encode_document
from apd.store.history import last_of
from apd.store.manifest import Version, now
from apd.store.objects import Objects, check_key, fetch_if_there, is_key
from apd.store.refusals import Refusals


@dataclass(frozen=True, slots=True)
class Registration:
    """One accepted task."""

    task: str
    number: int
    """In the order of arrival, from 1."""
    info: TaskInfo
    files: dict[str, JSON]
    """{name: {"size", "sha256"}} of the data; empty for a task that was learned from memory."""


class Arrivals:
    """The accepted tasks of one stream."""

    def __init__(self, objects: Objects, head: Callable[[], Version]) -> None:
        self._objects = objects
        self._head = head
        self._refusals = Refusals(objects)

    def has_claim(self, name: str) -> bool:
        """Whether the name stands for a task: one was accepted, and not forgotten since."""
        return self._objects.exists(claim_key(name))

    def is_begun(self, name: str) -> bool:
        """Whether the name is claimed and has no number: its acceptance was broken off, or goes on at this moment."""
        claim = self._read_claim(name)
        return claim is not None and self._registered(claim) is None

    def number_begun(self, name: str) -> None:
        """Number a task whose acceptance was broken off, though its data may be gone: so that it can be forgotten."""
        claim = self._read_claim(name)
        if claim is not None and self._registered(claim) is None:
            self._append(claim)

    def require_ahead(self, name: str) -> None:
        """Raise TaskRejected for a task that a rollback took out: it is settled, so no later version would have it."""
        claim, head = self._read_claim(name), self._head()
        found = None if claim is None or head.has(name) else self._registered(claim)
        if found is not None and head.is_settled(found.number):
            raise TaskRejected(
                f"a rollback took the task {name!r} out; forget it first (`apd forget {name}`), then it can come again"
            )

    def register(self, info: TaskInfo) -> int:
        """Number a task whose data is not kept in the store; the same one however often it is called."""
        return self._append(self._claim(info, {}))

    def waiting(self) -> list[Registration]:
        """Accepted tasks that no version has settled and no gate has refused, in order of arrival."""
        return self._unsettled(refused=False)

    def refused(self) -> list[Registration]:
        """Accepted tasks that were trained and that a gate has refused, in order of arrival."""
        return self._unsettled(refused=True)

    def undone(self) -> list[Registration]:
        """Tasks that a rollback took out, in order of arrival: settled, and not in the newest version."""
        head = self._head()
        learned = {entry.name for entry in head.entries}
        keys = (listed.key for listed in self._objects.list("names/"))
        names = [key.removeprefix("names/").removesuffix(".json") for key in keys if is_key(key)]
        claims = in_parallel(self._read_claim, [name for name in names if name not in learned])
        found = in_parallel(self._registered, [claim for claim in claims if claim is not None])
        return sorted((one for one in found if one and head.is_settled(one.number)), key=lambda one: one.number)

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

    def stands_for(self, task: str, arrival: int) -> bool:
        """Whether the task's name still means this arrival: it was not forgotten, nor accepted again."""
        try:
            return self.registration(task).number == arrival
        except UnknownTask:
            return False

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
        mine = fingerprint(info, files)
        last = last_of(lambda number: self._objects.exists(arrival_key(number)), self._head().watermark)
        fresh = {"info": info.to_json(), "files": files, "fingerprint": mine, "after": last}
        fresh |= {"id": secrets.token_hex(16), "created": now()}
        try:
            self._objects.create(claim_key(info.name), encode_document("name", fresh))
        except AlreadyExists:
            claim = self._read_claim(info.name)
            if claim is None or claim["fingerprint"] != mine:
                raise taken(info.name, claim) from None
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

    def _registered(self, claim: dict[str, JSON]) -> Registration | None:
        """The arrival of the claim, None when it was not numbered yet."""
        number = int(claim["after"]) + 1
        while (body := self._arrival(number)) is not None:
            if body["id"] == claim["id"]:
                return _registration(body, number)
            number += 1
        return None

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

    def _arrival(self, number: int) -> dict[str, JSON] | None:
        key = arrival_key(number)
        data = fetch_if_there(self._objects, key)
        return None if data is None else decode_document("arrival", data, self._objects.where(key))


def claim_key(name: str) -> str:
    """Where it says which data the name stands for."""
    return check_key(f"names/{name}.json")


def arrival_key(number: int) -> str:
    """Where the arrival is."""
    return f"arrivals/{number:08d}.json"


def fingerprint(info: TaskInfo, files: dict[str, JSON]) -> str:
    """Of everything that a task arrives with."""
    return digest_of(compact({"info": info.to_json(), "files": files}))


def taken(name: str, claim: dict[str, JSON] | None) -> TaskRejected:
    """What is to be said of a name that stands for other data."""
    when = f"arrived on {claim['created']}" if claim else "was just forgotten"
    return TaskRejected(f"a task named {name!r} with other data {when}; choose another name, or forget that task first")


def _registration(body: dict[str, Any], number: int) -> Registration:
    info = TaskInfo.from_json(body["info"])
    return Registration(info.name, number, info, body["files"])
