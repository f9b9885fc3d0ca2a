"""Saved attempts: where training goes on after its process was killed.

attempts/<task>/base.json              the version it is trained on: decided once, so that every try has the same
attempts/<task>/snapshot.safetensors   the last saved state, replaced whole
attempts/<task>/candidate.json         the outcome, until a version has it: garbage collection spares what it names

What is trained on several tasks has a name that no task can have: it begins with `_`. It goes with each of them that is
forgotten.
"""

from collections.abc import Mapping

from apd.errors import AlreadyExists
from apd.state import Snapshot
from apd.store.failures import failures_key
from apd.store.formats import JSON, decode_document, decode_snapshot, encode_document, encode_snapshot
from apd.store.objects import Objects, check_key, fetch_if_there
from apd.store.proposals import Candidate

SHARED = "_"
"""What the names of attempts at several tasks begin with."""

REFIT = "_refit"
"""Attempt at learning sigma again."""


FILES = ("base.json", "snapshot.safetensors", "candidate.json", "failures.json")
"""All that an attempt consists of; what else people keep beside them is not ours."""


def is_of_a_task(name: str) -> bool:
    """Whether an attempt of this name is a task's."""
    return not name.startswith(SHARED)


def learned_again(task: str) -> str:
    """Name of the attempt at a task on top of a sigma that was learned again."""
    return f"{REFIT}.{task}"


def base_key(task: str) -> str:
    """Where the version is that the task is trained on."""
    return check_key(f"attempts/{task}/base.json")


def attempt_key(task: str) -> str:
    """Where the attempt is."""
    return check_key(f"attempts/{task}/snapshot.safetensors")


def candidate_key(task: str) -> str:
    """Where the outcome is that waits for its commit."""
    return check_key(f"attempts/{task}/candidate.json")


def decode_candidate(data: bytes, where: str) -> Candidate:
    """An object under `candidate_key`. Raises CorruptObject naming `where`."""
    return Candidate.from_json(decode_document("candidate", data, where))


def decode_base(data: bytes, where: str) -> int:
    """Number of the version in an object under `base_key`. Raises CorruptObject naming `where`."""
    return int(decode_document("base", data, where)["version"])


class Attempts:
    """The attempts of one stream."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def begin(self, task: str, base: int) -> int:
        """Decide on which version the task is trained: `base`, unless that was decided before; returns the version."""
        try:
            self._objects.create(base_key(task), encode_document("base", {"version": base}))
        except AlreadyExists:
            return decode_base(self._objects.read(base_key(task)), self._objects.where(base_key(task)))
        return base

    def save(self, task: str, snapshot: Snapshot, extra: Mapping[str, JSON]) -> None:
        """Replace the task's attempt; `extra` is kept with the snapshot's values."""
        data = encode_snapshot(snapshot.tensors, {**snapshot.values, **extra})
        self._objects.put(attempt_key(task), data)

    def load(self, task: str) -> Snapshot | None:
        """The last attempt, None when there is none. Raises CorruptObject."""
        data = fetch_if_there(self._objects, attempt_key(task))
        if data is None:
            return None
        return Snapshot(*decode_snapshot(data, self._objects.where(attempt_key(task))))

    def discard(self, task: str) -> None:
        """Remove the saved state alone."""
        self._objects.delete(attempt_key(task))

    def offer(self, candidate: Candidate) -> None:
        """Keep the outcome until it is committed; a later one replaces it."""
        self._objects.put(candidate_key(candidate.task), encode_document("candidate", candidate.to_json()))

    def offered(self, task: str) -> Candidate | None:
        """The outcome that waits for its commit, None when there is none. Raises CorruptObject."""
        data = fetch_if_there(self._objects, candidate_key(task))
        return None if data is None else decode_candidate(data, self._objects.where(candidate_key(task)))

    def withdraw(self, task: str) -> None:
        """Remove the outcome: a version has it."""
        self._objects.delete(candidate_key(task))

    def drop(self, beginning: str) -> None:
        """Remove all attempts whose names begin so."""
        for listed in list(self._objects.list("attempts/")):
            if listed.key.startswith(f"attempts/{beginning}"):
                self._objects.delete(listed.key)

    def clear(self, task: str) -> None:
        """Remove the attempt, if there is one."""
        for key in (candidate_key(task), attempt_key(task), base_key(task), failures_key(task)):
            self._objects.delete(key)
