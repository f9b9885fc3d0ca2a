"""Bit-for-bit comparison."""

from collections.abc import Mapping

import torch
from torch import Tensor

from apd.state import Snapshot, Sparse, TaskState


def same_tensors(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(same_bits(left[name], right[name]) for name in left)


def same_bits(left: Tensor, right: Tensor) -> bool:
    """NaN equals the same NaN here, and -0.0 does not equal 0.0."""
    if (left.dtype, left.shape) != (right.dtype, right.shape):
        return False
    left, right = (tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (left, right))
    return left.equal(right)


def same_sparse(left: Mapping[str, Sparse], right: Mapping[str, Sparse]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].shape == right[name].shape
        and same_bits(left[name].indices, right[name].indices)
        and same_bits(left[name].values, right[name].values)
        for name in left
    )


def same_state(left: TaskState, right: TaskState) -> bool:
    dense = all(same_tensors(getattr(left, part), getattr(right, part)) for part in ("sigma", "mask_logits", "private"))
    sparse = same_sparse(left.tau, right.tau) and same_sparse(left.local_shared, right.local_shared)
    return dense and sparse and (left.name, dict(left.clusters)) == (right.name, dict(right.clusters))


def same_snapshot(left: Snapshot | None, right: Snapshot) -> bool:
    return left is not None and same_tensors(left.tensors, right.tensors) and left.values == right.values
