"""Shared sigmas: a whole one, and those that differ from it in a few places.

A delta holds the new *values* of the elements whose bits differ, not differences, so that what is read is what was
written, bit for bit, however many steps lie between: one base and one delta, never a chain.

So deltas of the same base grow from step to step. k steps of m elements each add up to m k^2 / 2 elements, on top of
the P of the base; that is least per step when k^2 = 2P/m. Then the newest delta has n = km elements, so n^2 = 2Pm, and
from there on a new base is cheaper. A step of a hundredth of sigma costs 14 % of sigma on average, not more and more.
"""

from functools import lru_cache

import torch
from torch import Tensor

from apd.errors import CorruptObject
from apd.state import Sparse, SparseTensors, Tensors
from apd.store.blobs import Blobs
from apd.store.formats import JSON, decode_sparse, decode_tensors, encode_sparse, encode_tensors
from apd.store.manifest import SigmaRef

CACHED = 4
"""Sigmas kept in memory."""

LARGEST = 0.5
"""A delta that takes more than this share of the dense sigma's bytes is not written: its indices cost too much."""


class Sigmas:
    """Reads and writes sigmas."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._dense = lru_cache(CACHED)(self._read_dense)
        self.load = lru_cache(CACHED)(self._read)

    def write(self, sigma: Tensors, owner: JSON, near: SigmaRef | None = None) -> SigmaRef:
        """Store a sigma; as what differs from the base of `near` where that is smaller, and as `near` if it is that."""
        delta = differences(self._dense(near.base), sigma) if near else None
        if near is None or delta is None:
            return self._write_dense(sigma, owner)
        changed, step = count(delta), count(differences(self.load(near), sigma) or {})
        if not changed:
            return SigmaRef(near.base)
        if not step:
            return near
        if changed**2 > 2 * sum(tensor.numel() for tensor in sigma.values()) * step:
            return self._write_dense(sigma, owner)
        data = encode_sparse(delta, owner)
        if len(data) > LARGEST * sum(tensor.nbytes for tensor in sigma.values()):
            return self._write_dense(sigma, owner)
        return SigmaRef(near.base, self._blobs.write(data))

    def _write_dense(self, sigma: Tensors, owner: JSON) -> SigmaRef:
        return SigmaRef(self._blobs.write(encode_tensors(sigma, owner)))

    def _read_dense(self, digest: str) -> dict[str, Tensor]:
        return decode_tensors(self._blobs.read(digest), self._blobs.where(digest))

    def _read(self, ref: SigmaRef) -> dict[str, Tensor]:
        base = self._dense(ref.base)
        if ref.delta is None:
            return base
        where = self._blobs.where(ref.delta)
        return replace_elements(base, decode_sparse(self._blobs.read(ref.delta), where), where)


def count(delta: SparseTensors) -> int:
    """Elements that a delta has."""
    return sum(part.nnz for part in delta.values())


def differences(base: Tensors, sigma: Tensors) -> SparseTensors | None:
    """Values of sigma where its bits are not the base's; None unless both are float32 of the same names and shapes."""
    if base.keys() != sigma.keys():
        return None
    for name, old in base.items():
        if old.shape != sigma[name].shape or {old.dtype, sigma[name].dtype} != {torch.float32}:
            return None
    return {name: _difference(old, sigma[name]) for name, old in base.items()}


def _difference(old: Tensor, new: Tensor) -> Sparse:
    flat = new.detach().to("cpu").contiguous().flatten()
    changed = flat.view(torch.int32) != old.contiguous().flatten().view(torch.int32)
    indices = changed.nonzero().flatten()
    return Sparse(tuple(new.shape), indices, flat[indices].clone())


def replace_elements(base: Tensors, delta: SparseTensors, where: str) -> dict[str, Tensor]:
    """The base with the delta's values in place of its own. Raises CorruptObject where they do not fit."""
    if delta.keys() != base.keys() or any(delta[name].shape != tuple(base[name].shape) for name in delta):
        raise CorruptObject(f"{where} does not have the names and shapes of the sigma it changes")
    return {name: _replaced(tensor, delta[name]) for name, tensor in base.items()}


def _replaced(tensor: Tensor, delta: Sparse) -> Tensor:
    flat = tensor.flatten().clone()
    flat[delta.indices] = delta.values
    return flat.reshape(tensor.shape)
