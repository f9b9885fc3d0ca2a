"""Tasks as blobs.

A task's record is a document of kind "record" that names the blobs its parameters are made of:

    task, arrival   whose it is
    commit          of which commit
    sigma           {"base", "delta"} of the sigma it is relative to
    tensors         dense: `mask_logits/<parameter>` and `private/<name>`
    tau             sparse
    clusters        {parameter: cluster index}
    local_shared    {parameter: digest of sigma_g}, shared by the cluster's members
    step            sparse: how its learning moved the shared sigma; None after a consolidation
    info, metrics   of the task and its training

Every blob carries the id of the commit it was written for, so two commits never have a blob in common unless one
takes it over by name from a version: whatever garbage collection finds unnamed and old can be removed without a race.
Record, `tensors`, `tau` and `step` also carry the task's name and arrival, and are the task's alone: forgetting
removes them.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from apd.decomposition import add_masks, bare_state
from apd.errors import CorruptObject, StateError
from apd.state import Sparse, SparseTensors, TaskState, Tensors
from apd.store.blobs import Blobs, in_parallel
from apd.store.formats import (
    JSON,
    decode_document,
    decode_sparse,
    decode_tensors,
    encode_document,
    encode_sparse,
    encode_tensors,
)
from apd.store.manifest import SigmaRef
from apd.store.sigmas import Sigmas


@dataclass(frozen=True, slots=True)
class Owner:
    """For whom a task's blobs are written."""

    task: str
    arrival: int
    commit: str
    """Id of the commit."""


@dataclass(frozen=True, slots=True)
class Written:
    """A task's record as it was stored."""

    record: str
    """Digest."""
    theta_key: str
    bytes: int
    """Of the blobs that are the task's alone."""


class Records:
    """Reads and writes tasks and what they share."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self.sigmas = Sigmas(blobs)

    def write_sparse(self, tensors: SparseTensors, owner: JSON) -> str:
        """Store sparse tensors."""
        return self._blobs.write(encode_sparse(tensors, owner))

    def read_sparse(self, digest: str) -> dict[str, Sparse]:
        """A blob of sparse tensors."""
        return decode_sparse(self._blobs.read(digest), self._blobs.where(digest))

    def write_dense(self, tensors: Tensors, owner: JSON) -> str:
        """Store dense tensors."""
        return self._blobs.write(encode_tensors(tensors, owner))

    def read_dense(self, digest: str) -> dict[str, Tensor]:
        """A blob of dense tensors."""
        return decode_tensors(self._blobs.read(digest), self._blobs.where(digest))

    def write_json(self, kind: str, body: JSON) -> str:
        """Store a document as a blob."""
        return self._blobs.write(encode_document(kind, body))

    def read_json(self, kind: str, digest: str) -> JSON:
        """A blob that is a document."""
        return decode_document(kind, self._blobs.read(digest), self._blobs.where(digest))

    def write_statistics(self, pull: Tensors, commit: str) -> str:
        """Store the sums over all tasks of their masks."""
        return self._blobs.write(encode_tensors(_join(pull=pull), {"commit": commit}))

    def read_statistics(self, digest: str) -> dict[str, Tensor]:
        """Sums of masks, per parameter."""
        pull, _ = self._read_groups(digest, "pull", "curvature")  # which nothing needed, and older streams have
        return pull

    def add_to_statistics(self, digest: str | None, mask_logits: Tensors, commit: str) -> str:
        """Statistics with one more task; None stands for those of no task."""
        pull = self.read_statistics(digest) if digest else {}
        return self.write_statistics(add_masks(pull, mask_logits), commit)

    def write_task(
        self, task: TaskState, sigma: SigmaRef, owner: Owner, step: str | None, info: JSON, metrics: JSON
    ) -> Written:
        """Store everything a task is made of except its sigma."""
        own = {
            "tensors": encode_tensors(_join(mask_logits=task.mask_logits, private=task.private), asdict(owner)),
            "tau": encode_sparse(task.tau, asdict(owner)),
        }
        commit = {"commit": owner.commit}
        shared = {name: encode_sparse({name: part}, commit) for name, part in task.local_shared.items()}
        digests = in_parallel(self._blobs.write, [*own.values(), *shared.values()])
        body = asdict(owner) | dict(zip(own, digests, strict=False))
        body["sigma"] = asdict(sigma)
        body["local_shared"] = dict(zip(shared, digests[len(own) :], strict=True))
        body |= {"clusters": dict(task.clusters), "step": step, "info": info, "metrics": metrics}
        record = encode_document("record", body)
        return Written(self._blobs.write(record), theta_key(task), len(record) + sum(map(len, own.values())))

    def read_record(self, digest: str) -> dict[str, JSON]:
        """The record's body."""
        body: dict[str, JSON] = self.read_json("record", digest)
        return body

    def read_records(self, digests: Iterable[str]) -> list[dict[str, JSON]]:
        """Several, in their order."""
        return in_parallel(self.read_record, digests)

    def read_masks(self, record: Mapping[str, JSON]) -> dict[str, Tensor]:
        """The mask logits of a task, without the rest of it."""
        masks, _ = self._read_groups(record["tensors"], "mask_logits", "private")
        return masks

    def load_task(self, digest: str) -> TaskState:
        """A task by its record's digest. Raises CorruptObject when the parts do not fit each other."""
        record = self.read_record(digest)
        shared = record["local_shared"]
        sigma = self.sigmas.load(SigmaRef(**record["sigma"]))
        masks, private = self._read_groups(record["tensors"], "mask_logits", "private")
        tau, *parts = in_parallel(self.read_sparse, [record["tau"], *shared.values()])
        try:
            return TaskState(
                name=record["task"],
                sigma=sigma,
                mask_logits=masks,
                tau=tau,
                private=private,
                clusters=record["clusters"],
                local_shared={name: part[name] for name, part in zip(shared, parts, strict=True)},
            )
        except (StateError, KeyError) as error:
            raise CorruptObject(f"the parts of record {self._blobs.where(digest)} do not fit: {error}") from None

    def _read_groups(self, digest: str, first: str, second: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The inverse of `_join`."""
        found: dict[str, dict[str, Tensor]] = {first: {}, second: {}}
        for path, tensor in decode_tensors(self._blobs.read(digest), self._blobs.where(digest)).items():
            group, _, name = path.partition("/")
            if group not in found:
                raise CorruptObject(f"{self._blobs.where(digest)} has {path!r}; expected {first}/... and {second}/...")
            found[group][name] = tensor
        return found[first], found[second]


def _join(**groups: Tensors) -> dict[str, Tensor]:
    """(pull={"w": x}) -> {"pull/w": x}."""
    return {f"{group}/{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}


def theta_key(task: TaskState) -> str:
    """SHA-256 over the names, dtypes, shapes and bits of theta and the private tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(bare_state(task).items()):
        flat = tensor.detach().to("cpu").contiguous().reshape(-1)
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
