"""Shared sigmas: a whole one, and those that differ from it in a few places.

A delta holds the new *values* of the elements whose bits differ, not differences, so that what is read is what was
written, bit for bit, however many steps lie between.
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

DENSE_AGAIN = 0.5
"""A delta larger than this share of the dense sigma is not worth its indices: a new base is written."""


class Sigmas:
    """Reads and writes sigmas."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._dense = lru_cache(CACHED)(self._read_dense)
        self.load = lru_cache(CACHED)(self._read)

    def write(self, sigma: Tensors, owner: JSON, near: SigmaRef | None = None) -> SigmaRef:
        """Store a sigma; as what differs from the base of `near` where that is smaller."""
        delta = differences(self._dense(near.base), sigma) if near else None
        if near is None or delta is None:
            return SigmaRef(self._blobs.write(encode_tensors(sigma, owner)))
        if not any(part.nnz for part in delta.values()):
            return SigmaRef(near.base)
        data = encode_sparse(delta, owner)
        if len(data) > DENSE_AGAIN * sum(tensor.nbytes for tensor in sigma.values()):
            return SigmaRef(self._blobs.write(encode_tensors(sigma, owner)))
        return SigmaRef(near.base, self._blobs.write(data))

    def _read_dense(self, digest: str) -> dict[str, Tensor]:
        return decode_tensors(self._blobs.read(digest), self._blobs.where(digest))

    def _read(self, ref: SigmaRef) -> dict[str, Tensor]:
        base = self._dense(ref.base)
        if ref.delta is None:
            return base
        where = self._blobs.where(ref.delta)
        return replace_elements(base, decode_sparse(self._blobs.read(ref.delta), where), where)


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
