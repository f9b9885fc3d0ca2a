"""What heavy work hands to a commit: names of blobs that are in the store already; small and plain."""

import dataclasses
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from apd.data import TaskInfo
from apd.decomposition import add_masks
from apd.errors import StateError
from apd.state import Consolidation, Learned, Regrouping, TaskState, Tensors
from apd.store.formats import JSON
from apd.store.manifest import SigmaRef, TaskEntry, Version
from apd.store.records import Owner, Records
from apd.wording import counted


@dataclass(frozen=True, slots=True)
class Candidate:
    """One trained task, not yet part of a version. Its entry is complete but for `learned_in`."""

    task: str
    arrival: int
    base: int
    """Number of the version it was trained on."""
    commit_id: str
    entry: TaskEntry
    sigma: SigmaRef
    """The sigma the task is relative to: the base's plus the step."""
    step: str
    """Digest of the sparse step."""
    statistics: str
    """Digest of the base's sums with this task's masks."""

    def to_json(self) -> dict[str, JSON]:
        """JSON values."""
        return dataclasses.asdict(self) | {"entry": self.entry.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, JSON]) -> "Candidate":
        """The inverse of `to_json`."""
        parts = {"entry": TaskEntry.from_json(values["entry"]), "sigma": SigmaRef(**values["sigma"])}
        return cls(**(dict(values) | parts))


@dataclass(frozen=True, slots=True)
class Proposal:
    """All tasks of a version in a new form, not yet part of a version."""

    base: int
    """Number of the version whose tasks these are."""
    kind: Literal["consolidate", "prune"]
    commit_id: str
    message: str
    entries: tuple[TaskEntry, ...]
    sigma: SigmaRef
    statistics: str
    clustering: str
    details: Mapping[str, Any]
    """JSON values; `details["blobs"]["report"]` is the digest of the full report."""

    def to_json(self) -> dict[str, JSON]:
        """JSON values."""
        return dataclasses.asdict(self) | {"entries": [entry.to_json() for entry in self.entries]}


def write_candidate(
    records: Records, learned: Learned, base: Version, info: TaskInfo, arrival: int, metrics: Mapping[str, JSON]
) -> Candidate:
    """Store everything the outcome of a training consists of.

    `metrics`: `validation_accuracy`, `test_accuracy`, `seconds` and `baseline` go to the entry where present, all of it
    to the record.
    """
    task = learned.task
    if info.name != task.name:
        raise StateError(f"the learned task is {task.name!r} but its description is of {info.name!r}")
    owner = Owner(task.name, arrival, secrets.token_hex(16))
    sigma = records.sigmas.write(task.sigma, {"commit": owner.commit}, near=base.sigma)
    step = records.write_sparse(learned.sigma_step, dataclasses.asdict(owner))
    written = records.write_task(task, sigma, owner, step, info.to_json(), dict(metrics))
    entry = TaskEntry(
        name=task.name,
        classes=tuple(info.classes),
        arrival=arrival,
        record=written.record,
        theta_key=written.theta_key,
        learned_in=base.number + 1,
        based_on=base.number,
        tau_nnz=_tau_nnz(task),
        bytes=written.bytes,
        validation_accuracy=metrics.get("validation_accuracy", learned.validation_accuracy),
        test_accuracy=metrics.get("test_accuracy"),
        baseline=metrics.get("baseline"),
        seconds=metrics.get("seconds"),
    )
    statistics = records.add_to_statistics(base.statistics, task.mask_logits, owner.commit)
    return Candidate(task.name, arrival, base.number, owner.commit, entry, sigma, step, statistics)


def write_consolidation(
    records: Records,
    outcome: Consolidation,
    base: Version,
    kind: Literal["consolidate", "prune"],
    seconds: float | None,
) -> Proposal:
    """Store all tasks of `base` in their new form. Raises StateError when the outcome is of other tasks."""
    names, expected = [task.name for task in outcome.tasks], [entry.name for entry in base.entries]
    if names != expected:
        raise StateError(f"the outcome has tasks {names} but version {base.number} has {expected}")
    commit = secrets.token_hex(16)
    sigma = records.sigmas.write(outcome.sigma, {"commit": commit}, near=base.sigma)
    entries = [
        rewrite(records, entry, task, sigma, commit)
        for entry, task in zip(base.entries, outcome.tasks, strict=True)
    ]  # fmt: skip
    statistics = write_sums(records, [task.mask_logits for task in outcome.tasks], commit)
    return conclude(records, outcome, base, kind, commit, entries, sigma, statistics, seconds)


def conclude(
    records: Records,
    outcome: Regrouping,
    base: Version,
    kind: Literal["consolidate", "prune"],
    commit: str,
    entries: Sequence[TaskEntry],
    sigma: SigmaRef,
    statistics: str,
    seconds: float | None,
) -> Proposal:
    """Store what was decided, once sigma, statistics and every task in its new form are stored under this commit."""
    return Proposal(
        base=base.number,
        kind=kind,
        commit_id=commit,
        message=_describe(outcome, entries),
        entries=tuple(entries),
        sigma=sigma,
        statistics=statistics,
        clustering=records.write_json("clustering", outcome.clustering.to_json() | {"commit": commit}),
        details={**_details(records, outcome, entries, commit), "seconds": seconds},
    )


def rewrite(records: Records, entry: TaskEntry, task: TaskState, sigma: SigmaRef, commit: str) -> TaskEntry:
    """The entry of a task in its new form."""
    old = records.read_record(entry.record)
    owner = Owner(entry.name, entry.arrival, commit)
    written = records.write_task(task, sigma, owner, None, old["info"], old["metrics"])
    renamed = dataclasses.replace(entry, record=written.record, theta_key=written.theta_key)
    return dataclasses.replace(renamed, bytes=written.bytes, tau_nnz=_tau_nnz(task))


def write_sums(records: Records, masks: Iterable[Tensors], commit: str) -> str:
    """Statistics of these tasks, from nothing."""
    pull: Tensors = {}
    for mask_logits in masks:
        pull = add_masks(pull, mask_logits)
    return records.write_statistics(pull, commit)


def _tau_nnz(task: TaskState) -> int:
    return sum(part.nnz for part in task.tau.values())


def _describe(outcome: Regrouping, entries: Sequence[TaskEntry]) -> str:
    tasks, clusters = counted(len(entries), "task"), counted(_clusters(outcome), "cluster")
    after = sum(entry.tau_nnz for entry in entries)
    what = "learned again from a sigma of all of them" if outcome.refit else clusters
    return f"{tasks}, {what}, tau {_tau_before(outcome):,} -> {after:,} non-zeros"


def _clusters(outcome: Regrouping) -> int:
    """Formed, over all parameters."""
    return sum(len(part.members) for part in outcome.report.values())


def _tau_before(outcome: Regrouping) -> int:
    """Non-zeros of all taus on the new sigma before clusters changed: what clusters are to be measured by."""
    return sum(part.tau_before for part in outcome.report.values())


def _details(records: Records, outcome: Regrouping, entries: Sequence[TaskEntry], commit: str) -> dict[str, JSON]:
    parameters = {name: dataclasses.asdict(part) for name, part in outcome.report.items()}
    return {
        "refit": outcome.refit,
        "tolerance": outcome.tolerance,
        "clusters": _clusters(outcome),
        "shared_elements": sum(part.local_shared_after for part in outcome.report.values()),
        "tau_before": _tau_before(outcome),
        "tau_after": sum(entry.tau_nnz for entry in entries),
        "sigma_moved": outcome.sigma_moved,
        "largest_move": outcome.largest_move,
        "blobs": {"report": records.write_json("consolidation", {"commit": commit, "parameters": parameters})},
    }
