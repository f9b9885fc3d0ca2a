"""What changed between two versions, task by task."""

from dataclasses import dataclass
from typing import Literal

from apd.state import Sparse, SparseTensors, TaskState, Tensors
from apd.store.manifest import TaskEntry, Version
from apd.store.stream import Stream

Change = Literal["added", "removed", "same", "rewritten", "changed", "forgotten"]
"""`rewritten`: stored differently, with the same theta, bit for bit. `changed`: its predictions may differ.
`forgotten`: it was stored differently, and has been removed from both versions."""


@dataclass(frozen=True, slots=True)
class TaskChange:
    """One task in two versions."""

    task: str
    change: Change
    parts: tuple[str, ...]
    """Which of sigma, masks, tau, clusters, private differ in any bit."""
    tau_nnz: tuple[int | None, int | None]
    """Non-zeros of tau before and after."""
    test_accuracy: tuple[float | None, float | None]
    """As measured, before and after; as learned where nobody measured it since."""


def compare(stream: Stream, before: int, after: int) -> list[TaskChange]:
    """Every task of either version, in the order of `after`, removed ones last."""
    old, new = stream.version(before), stream.version(after)
    gone = {*stream.forgotten_since(old), *stream.forgotten_since(new)}
    removed = [entry.name for entry in old.entries if not new.has(entry.name)]
    return [
        _change(stream, name, old, new, name in gone) for name in [*(entry.name for entry in new.entries), *removed]
    ]


def _change(stream: Stream, name: str, old: Version, new: Version, forgotten: bool) -> TaskChange:
    left = old.entry(name) if old.has(name) else None
    right = new.entry(name) if new.has(name) else None
    parts: tuple[str, ...] = ()
    if left is None or right is None or left.arrival != right.arrival:
        change: Change = "added" if right else "removed"
    elif left.record == right.record:
        change = "same"
    elif forgotten:
        change = "forgotten"
    else:
        change = "rewritten" if left.theta_key == right.theta_key else "changed"
        parts = _different(stream.load_task(old, name), stream.load_task(new, name))
    return TaskChange(
        name,
        change,
        parts,
        tau_nnz=(left.tau_nnz if left else None, right.tau_nnz if right else None),
        test_accuracy=(_accuracy(stream, left), _accuracy(stream, right)),
    )


def _accuracy(stream: Stream, entry: TaskEntry | None) -> float | None:
    if entry is None:
        return None
    measured = stream.evaluations.get(entry.theta_key)
    accuracy: float | None = measured["test_accuracy"] if measured else entry.test_accuracy
    return accuracy


def _different(left: TaskState, right: TaskState) -> tuple[str, ...]:
    differs = {
        "sigma": not _same(left.sigma, right.sigma),
        "masks": not _same(left.mask_logits, right.mask_logits),
        "tau": not _same_sparse(left.tau, right.tau),
        "clusters": not _same_sparse(left.local_shared, right.local_shared),
        "private": not _same(left.private, right.private),
    }
    return tuple(part for part, different in differs.items() if different)


def _same(left: Tensors, right: Tensors) -> bool:
    return left.keys() == right.keys() and all(left[name].equal(right[name]) for name in left)


def _same_sparse(left: SparseTensors, right: SparseTensors) -> bool:
    return left.keys() == right.keys() and all(_equal(left[name], right[name]) for name in left)


def _equal(left: Sparse, right: Sparse) -> bool:
    return left.shape == right.shape and left.indices.equal(right.indices) and left.values.equal(right.values)
