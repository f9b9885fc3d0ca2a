"""What a gate kept from becoming a version, with the reasons; the head stays as it is.

    refused/tasks/<task>.json                      a trained task below what the stream demands of a new one
    refused/consolidations/00000007/<commit>.json  a consolidation of version 7 that cost a task too much

A refused task does not wait any more. What was trained is a candidate all the same, which garbage collection spares: it
can still be committed, or be withdrawn so that the task is trained again. A refused consolidation is a proposal, of
which the facts stay and the blobs go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apd.store.attempts import REFIT, Attempts
from apd.store.blobs import in_parallel
from apd.store.formats import JSON, decode_document, encode_document
from apd.store.manifest import now
from apd.store.objects import Objects, check_key, fetch_if_there
from apd.store.proposals import Candidate, Proposal

TASKS = "refused/tasks/"
CONSOLIDATIONS = "refused/consolidations/"


@dataclass(frozen=True, slots=True)
class RefusedTask:
    """A trained task that no version has."""

    candidate: Candidate
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RefusedConsolidation:
    """A consolidation that no version has."""

    base: int
    """Number of the version it started from."""
    reasons: tuple[str, ...]
    accuracies: Mapping[str, tuple[float, float]]
    """Validation accuracy of every task before and after, in [0, 1]."""
    details: Mapping[str, JSON]
    """As of the version that it would have made."""

    @property
    def refit(self) -> bool:
        """Whether it would have learned sigma again."""
        return bool(self.details.get("refit", False))


def refused_task_key(task: str) -> str:
    """Where the refusal of a task is."""
    return check_key(f"{TASKS}{task}.json")


def refused_consolidations(base: int) -> str:
    """What the keys of all refused consolidations of a version begin with."""
    return f"{CONSOLIDATIONS}{base:08d}/"


class Refusals:
    """The refusals of one stream."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def keep_task(self, candidate: Candidate, reasons: Sequence[str]) -> str:
        """Note a refused task; returns where."""
        key = refused_task_key(candidate.task)
        body = {"task": candidate.task, "reasons": list(reasons), "candidate": candidate.to_json(), "refused": now()}
        self._objects.put(key, encode_document("refused", body))
        return self._objects.where(key)

    def task(self, name: str) -> RefusedTask | None:
        """The refusal of a task that arrived, None where there is none."""
        data = fetch_if_there(self._objects, refused_task_key(name))
        if data is None:
            return None
        body = decode_document("refused", data, self._objects.where(refused_task_key(name)))
        return RefusedTask(Candidate.from_json(body["candidate"]), tuple(body["reasons"]))

    def tasks(self) -> set[str]:
        """Names of refused tasks, from one listing; one that was just learned may still be among them."""
        return {item.key.removeprefix(TASKS).removesuffix(".json") for item in self._objects.list(TASKS)}

    def withdraw(self, name: str) -> None:
        """Let the task wait again as if it had never been trained."""
        self.settle(name)
        Attempts(self._objects).clear(name)

    def settle(self, name: str) -> None:
        """Remove the refusal of a task that a version has, if there is one."""
        self._objects.delete(refused_task_key(name))

    def keep_consolidation(
        self, proposal: Proposal, reasons: Sequence[str], accuracies: Mapping[str, tuple[float, float]]
    ) -> str:
        """Note a refused consolidation with the accuracies that it was refused for; returns where."""
        key = f"{refused_consolidations(proposal.base)}{proposal.commit_id[:8]}.json"
        body = {
            "base": proposal.base,
            "reasons": list(reasons),
            "accuracies": {task: list(pair) for task, pair in accuracies.items()},
            "details": dict(proposal.details),
            "refused": now(),
        }
        self._objects.put(key, encode_document("refused", body))
        if proposal.details.get("refit"):
            Attempts(self._objects).drop(REFIT)
        return self._objects.where(key)

    def consolidations(self, base: int | None = None) -> list[RefusedConsolidation]:
        """Those of a version, or all, in the order of versions; of each version a refit, then the largest tolerance."""
        area = CONSOLIDATIONS if base is None else refused_consolidations(base)
        found = in_parallel(self._consolidation, [item.key for item in self._objects.list(area)])
        return sorted(found, key=lambda one: (one.base, not one.refit, -one.details["tolerance"]))

    def place(self, base: int) -> str:
        """Where the refused consolidations of a version are kept."""
        return self._objects.where(refused_consolidations(base).rstrip("/"))

    def _consolidation(self, key: str) -> RefusedConsolidation:
        body = decode_document("refused", self._objects.read(key), self._objects.where(key))
        accuracies = {task: (before, after) for task, (before, after) in body["accuracies"].items()}
        return RefusedConsolidation(body["base"], tuple(body["reasons"]), accuracies, body["details"])
