"""Bit-for-bit comparison."""

from collections.abc import Mapping

from torch import Tensor

from apd.state import Snapshot, Sparse, TaskState


def same_tensors(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and left[name].equal(right[name]) for name in left
    )


def same_sparse(left: Mapping[str, Sparse], right: Mapping[str, Sparse]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].shape == right[name].shape
        and left[name].indices.equal(right[name].indices)
        and left[name].values.equal(right[name].values)
        for name in left
    )


def same_state(left: TaskState, right: TaskState) -> bool:
    dense = all(same_tensors(getattr(left, part), getattr(right, part)) for part in ("sigma", "mask_logits", "private"))
    sparse = same_sparse(left.tau, right.tau) and same_sparse(left.local_shared, right.local_shared)
    return dense and sparse and (left.name, dict(left.clusters)) == (right.name, dict(right.clusters))


def same_snapshot(left: Snapshot | None, right: Snapshot) -> bool:
    return left is not None and same_tensors(left.tensors, right.tensors) and left.values == right.values
