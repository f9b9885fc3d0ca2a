"""How large a version is: by the paper's count of non-zeros, and in bytes that the store must keep for it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from apd.metrics import tau_counts
from apd.state import Shape, Spec
from apd.store import SigmaRef, Stream, TaskEntry, Version

Specs = Mapping[int, Spec]
"""Of a stream's network, by number of classes."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the size of a version consists of; one more task adds to them, whatever the number of tasks."""

    sigma: int
    """Non-zeros of sigma."""
    taus: int
    """Non-zeros of all taus, each relative to the version's sigma."""
    local_shared: int
    """Non-zeros of all sigma_g's."""
    heads: int
    """Elements of all heads."""
    task_bytes: int
    """Of what belongs to a single task: record, masks, private tensors, tau."""
    common: Mapping[str, int]
    """Bytes of the blobs that tasks have in common, by digest: sigmas and sigma_g's."""
    other_bytes: int
    """Of statistics and clustering."""

    def paper_capacity(self, version: Version, specs: Specs) -> float:
        """As in `apd.metrics.paper_capacity`: 1.0 is one network."""
        last = specs[len(version.entries[-1].classes)]
        masks = sum(shape[0] for shape in last.shared.values())
        body, own_head = _count(shape for shape, _ in last.private.values()), _count(last.head.values())
        dense = self.sigma + body + own_head + masks * len(version.entries)
        return (dense + self.taus + self.local_shared) / (last.size + body + self.heads)

    @property
    def bytes(self) -> int:
        """In the store, of everything the version consists of."""
        return self.task_bytes + sum(self.common.values()) + self.other_bytes


def count(stream: Stream, version: Version, specs: Specs) -> Counts:
    """Of a version with at least one task. Reads every record, and tasks that are not relative to its sigma."""
    assert version.sigma is not None
    records = stream.records.read_records(entry.record for entry in version.entries)
    shared = {digest for record in records for digest in record["local_shared"].values()}
    references = [version.sigma, *(_sigma_of(record) for record in records)]
    return Counts(
        sigma=sum(int(tensor.count_nonzero()) for tensor in stream.load_sigma(version.sigma).values()),
        taus=sum(
            _tau_count(stream, entry, _sigma_of(record), version.sigma)
            for entry, record in zip(version.entries, records, strict=True)
        ),
        local_shared=sum(stream.sparse_nnz(digest) for digest in shared),
        heads=sum(_head(entry, specs) for entry in version.entries),
        task_bytes=sum(entry.bytes for entry in version.entries),
        common={digest: stream.blob_bytes(digest) for digest in sorted(shared | _blobs(references))},
        other_bytes=_other_bytes(stream, version),
    )


def count_learned(stream: Stream, version: Version, before: Version, counts: Counts, specs: Specs) -> Counts | None:
    """Of the version that learned one task more than `before`, from the counts of that one.

    None where that says too little: `version` came about in another way, or sigma has moved with it, so that every
    tau is another.
    """
    if version.kind != "learn" or version.parent != before.number or version.sigma != before.sigma:
        return None
    learned = version.entries[-1]
    if _sigma_of(stream.record(learned)) != version.sigma:
        return None
    return replace(
        counts,
        taus=counts.taus + learned.tau_nnz,
        heads=counts.heads + _head(learned, specs),
        task_bytes=counts.task_bytes + learned.bytes,
        other_bytes=_other_bytes(stream, version),
    )


def _sigma_of(record: Mapping[str, Any]) -> SigmaRef:
    return SigmaRef(**record["sigma"])


def _blobs(references: Iterable[SigmaRef]) -> set[str]:
    return {digest for reference in references for digest in (reference.base, reference.delta) if digest}


def _other_bytes(stream: Stream, version: Version) -> int:
    return sum(stream.blob_bytes(digest) for digest in {version.statistics, version.clustering} if digest)


def _head(entry: TaskEntry, specs: Specs) -> int:
    return _count(specs[len(entry.classes)].head.values())


def _count(shapes: Iterable[Shape]) -> int:
    return sum(map(math.prod, shapes))


def _tau_count(stream: Stream, entry: TaskEntry, own: SigmaRef, sigma: SigmaRef) -> int:
    """Non-zeros of tau once the task is relative to the version's sigma."""
    if own == sigma:
        return entry.tau_nnz
    return sum(tau_counts(stream.load_entry(entry), stream.load_sigma(sigma)).values())
