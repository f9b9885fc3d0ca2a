"""How large a version is: by the paper's count of non-zeros, and in bytes that the store must keep for it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from apd.metrics import tau_counts
from apd.state import Shape, Spec
from apd.store import SigmaRef, Stream, TaskEntry, Version


@dataclass(frozen=True, slots=True)
class Size:
    """Of everything one version consists of."""

    paper_capacity: float
    """As in `apd.metrics.paper_capacity`: 1.0 is one network."""
    bytes: int
    """Records, masks, private tensors, taus, sigmas, sigma_g's, statistics."""


def size(stream: Stream, version: Version, specs: Mapping[int, Spec]) -> Size:
    """Of a version with at least one task; measured once. specs: of the network, by number of classes."""
    known = stream.sizes.get(str(version.number))
    if known is not None and known["commit_id"] == version.commit_id:
        return Size(known["paper_capacity"], known["bytes"])
    records = [stream.record(entry) for entry in version.entries]
    shared = {digest for record in records for digest in record["local_shared"].values()}
    result = Size(
        _paper_capacity(stream, version, specs, shared),
        sum(entry.bytes for entry in version.entries)
        + sum(stream.blob_bytes(digest) for digest in shared | _sigma_blobs(version, records) | _extra_blobs(version)),
    )
    facts = {"paper_capacity": result.paper_capacity, "bytes": result.bytes, "commit_id": version.commit_id}
    stream.sizes.put(str(version.number), facts)
    return result


def _sigma_blobs(version: Version, records: list[dict[str, Any]]) -> set[str]:
    references = [SigmaRef(**record["sigma"]) for record in records] + ([version.sigma] if version.sigma else [])
    return {digest for reference in references for digest in (reference.base, reference.delta) if digest}


def _extra_blobs(version: Version) -> set[str]:
    return {digest for digest in (version.statistics, version.clustering) if digest}


def _paper_capacity(stream: Stream, version: Version, specs: Mapping[int, Spec], shared: set[str]) -> float:
    """The numerator and denominator of `apd.metrics.paper_capacity`, from records instead of loaded tasks."""
    assert version.sigma is not None
    entries, last = version.entries, specs[len(version.entries[-1].classes)]
    masks = sum(shape[0] for shape in last.shared.values())
    heads = sum(_count(specs[len(entry.classes)].head.values()) for entry in entries)
    body, own_head = _count(shape for shape, _ in last.private.values()), _count(last.head.values())
    non_zeros = (
        sum(int(tensor.count_nonzero()) for tensor in stream.load_sigma(version.sigma).values())
        + body
        + own_head
        + masks * len(entries)
    )
    non_zeros += sum(_tau_count(stream, entry, version.sigma) for entry in entries)
    non_zeros += sum(stream.sparse_nnz(digest) for digest in shared)
    return non_zeros / (last.size + body + heads)


def _count(shapes: Iterable[Shape]) -> int:
    return sum(map(math.prod, shapes))


def _tau_count(stream: Stream, entry: TaskEntry, sigma: SigmaRef) -> int:
    """Non-zeros of tau once the task is relative to the version's sigma."""
    if SigmaRef(**stream.record(entry)["sigma"]) == sigma:
        return entry.tau_nnz
    return sum(tau_counts(stream.load_entry(entry), stream.load_sigma(sigma)).values())
