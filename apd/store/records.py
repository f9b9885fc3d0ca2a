"""Tasks and sigmas as blobs.

A task's record is a document of kind "record" that names the blobs its parameters are made of:

    task, arrival   whose it is
    sigma           {"base", "delta"} of the sigma it is relative to
    tensors         dense: `mask_logits/<parameter>` and `private/<name>`
    tau             sparse
    clusters        {parameter: cluster index}
    local_shared    {parameter: digest of sigma_g}, shared by the cluster's members
    step            sparse: how its learning moved the shared sigma; None after a consolidation
    info, metrics   of the task and its training

Record, `tensors`, `tau` and `step` carry the task's name and arrival number, so that no other task can have the same
blob and forgetting the task can remove them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache

import torch
from torch import Tensor

from apd.decomposition import add_masks
from apd.errors import CorruptObject, StateError
from apd.state import Sparse, SparseTensors, TaskState, Tensors
from apd.store.blobs import Blobs, in_parallel
from apd.store.formats import (
    JSON,
    compact,
    decode_document,
    decode_sparse,
    decode_tensors,
    encode_document,
    encode_sparse,
    encode_tensors,
)
from apd.store.manifest import SigmaRef

SIGMAS = 4
"""Sigmas kept in memory."""

DENSE_AGAIN = 0.5
"""A delta larger than this share of the dense sigma is not worth its indices: a new base is written."""


@dataclass(frozen=True, slots=True)
class Written:
    """A task's record as it was stored."""

    record: str
    """Digest."""
    theta_key: str
    bytes: int
    """Of the blobs that are the task's alone."""


class Records:
    """Reads and writes sigmas and tasks."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._dense = lru_cache(SIGMAS)(self._read_dense)
        self.load_sigma = lru_cache(SIGMAS)(self._read_sigma)

    def write_sigma(self, sigma: Tensors, near: SigmaRef | None = None) -> SigmaRef:
        """Store a sigma; as its differences from the base of `near` where that is smaller."""
        if near is not None:
            delta = differences(self._dense(near.base), sigma)
            if delta is not None and not any(part.nnz for part in delta.values()):
                return SigmaRef(near.base)
            data = encode_sparse(delta) if delta is not None else None
            if data is not None and len(data) <= DENSE_AGAIN * sum(tensor.nbytes for tensor in sigma.values()):
                return SigmaRef(near.base, self._blobs.write(data))
        return SigmaRef(self._blobs.write(encode_tensors(sigma)))

    def _read_dense(self, digest: str) -> dict[str, Tensor]:
        return decode_tensors(self._blobs.read(digest), self._blobs.where(digest))

    def _read_sigma(self, ref: SigmaRef) -> dict[str, Tensor]:
        base = self._dense(ref.base)
        if ref.delta is None:
            return base
        return replace_elements(base, self.read_sparse(ref.delta), self._blobs.where(ref.delta))

    def read_sparse(self, digest: str) -> dict[str, Sparse]:
        """A blob of sparse tensors."""
        return decode_sparse(self._blobs.read(digest), self._blobs.where(digest))

    def write_sparse(self, tensors: SparseTensors, owner: JSON = None) -> str:
        """Store sparse tensors."""
        return self._blobs.write(encode_sparse(tensors, owner))

    def read_json(self, kind: str, digest: str) -> JSON:
        """A blob that is a document."""
        return decode_document(kind, self._blobs.read(digest), self._blobs.where(digest))

    def write_json(self, kind: str, body: JSON) -> str:
        """Store a document as a blob."""
        return self._blobs.write(encode_document(kind, body))

    def read_statistics(self, digest: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Sums of masks and of squared masks, per parameter."""
        found = split_groups(decode_tensors(self._blobs.read(digest), self._blobs.where(digest)))
        return found.get("pull", {}), found.get("curvature", {})

    def write_statistics(self, pull: Tensors, curvature: Tensors) -> str:
        """Store the sums; equal sums have equal digests."""
        return self._blobs.write(encode_tensors(join_groups({"pull": pull, "curvature": curvature})))

    def add_to_statistics(self, digest: str | None, mask_logits: Tensors) -> str:
        """Statistics with one more task; None stands for those of no task."""
        pull, curvature = self.read_statistics(digest) if digest else ({}, {})
        return self.write_statistics(*add_masks(pull, curvature, mask_logits))

    def write_task(
        self, task: TaskState, sigma: SigmaRef, arrival: int, step: str | None, info: JSON, metrics: JSON
    ) -> Written:
        """Store everything a task is made of except its sigma."""
        owner = {"task": task.name, "arrival": arrival}
        own = {
            "tensors": encode_tensors(join_groups({"mask_logits": task.mask_logits, "private": task.private}), owner),
            "tau": encode_sparse(task.tau, owner),
        }
        shared = {name: encode_sparse({name: part}) for name, part in task.local_shared.items()}
        digests = in_parallel(self._blobs.write, [*own.values(), *shared.values()])
        parts = dict(zip(own, digests, strict=False))
        local_shared = dict(zip(shared, digests[len(own) :], strict=True))
        depends = parts | {"sigma": asdict(sigma), "local_shared": local_shared}
        about = {"clusters": dict(task.clusters), "step": step, "info": info, "metrics": metrics}
        record = encode_document("record", owner | depends | about)
        size = len(record) + sum(map(len, own.values()))
        return Written(self._blobs.write(record), hashlib.sha256(compact(depends)).hexdigest(), size)

    def read_record(self, digest: str) -> dict[str, JSON]:
        """The record's body."""
        body: dict[str, JSON] = self.read_json("record", digest)
        return body

    def read_masks(self, record: Mapping[str, JSON]) -> dict[str, Tensor]:
        """The mask logits of a task, without the rest of it."""
        return self._read_own(record).get("mask_logits", {})

    def _read_own(self, record: Mapping[str, JSON]) -> dict[str, dict[str, Tensor]]:
        digest = record["tensors"]
        return split_groups(decode_tensors(self._blobs.read(digest), self._blobs.where(digest)))

    def load_task(self, digest: str) -> TaskState:
        """A task by its record's digest. Raises CorruptObject when the parts do not fit each other."""
        record = self.read_record(digest)
        sigma = self.load_sigma(SigmaRef(**record["sigma"]))
        names = list(record["local_shared"])
        shared = [record["local_shared"][name] for name in names]
        own = self._read_own(record)
        tau, *parts = in_parallel(self.read_sparse, [record["tau"], *shared])
        try:
            return TaskState(
                name=record["task"],
                sigma=sigma,
                mask_logits=own.get("mask_logits", {}),
                tau=tau,
                private=own.get("private", {}),
                clusters=record["clusters"],
                local_shared={name: part[name] for name, part in zip(names, parts, strict=True)},
            )
        except (StateError, KeyError) as error:
            raise CorruptObject(f"the parts of record {self._blobs.where(digest)} do not fit: {error}") from None


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
    bits = flat.view(torch.int32) != old.contiguous().flatten().view(torch.int32)
    indices = bits.nonzero().flatten()
    return Sparse(tuple(new.shape), indices, flat[indices].clone())


def replace_elements(base: Tensors, delta: SparseTensors, where: str) -> dict[str, Tensor]:
    """The base with the delta's values in place of its own."""
    if delta.keys() != base.keys() or any(delta[name].shape != tuple(base[name].shape) for name in delta):
        raise CorruptObject(f"{where} does not have the names and shapes of the sigma it changes")
    replaced = {}
    for name, tensor in base.items():
        flat = tensor.flatten().clone()
        flat[delta[name].indices] = delta[name].values
        replaced[name] = flat.reshape(tensor.shape)
    return replaced


def join_groups(groups: Mapping[str, Tensors]) -> dict[str, Tensor]:
    """{"pull": {"w": x}} -> {"pull/w": x}."""
    return {f"{group}/{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}


def split_groups(tensors: Tensors) -> dict[str, dict[str, Tensor]]:
    """The inverse of `join_groups`."""
    groups: dict[str, dict[str, Tensor]] = {}
    for path, tensor in tensors.items():
        group, _, name = path.partition("/")
        groups.setdefault(group, {})[name] = tensor
    return groups
