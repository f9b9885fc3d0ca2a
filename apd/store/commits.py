"""How a proposal becomes a version: blobs first, then one manifest by put-if-absent, then the hint.

Every commit can be repeated safely, and a process that dies at any point leaves either the old head or the new one.
"""

import dataclasses
from collections.abc import Mapping

from apd.errors import AlreadyExists, StateError, UnknownTask
from apd.state import SparseTensors, Tensors
from apd.store.formats import JSON
from apd.store.history import History
from apd.store.manifest import Kind, SigmaRef, Version, now, settle
from apd.store.proposals import Candidate, Proposal
from apd.store.records import Records


class Commits:
    """Adds learned tasks and consolidations to a stream's history."""

    def __init__(self, history: History, records: Records) -> None:
        self._history = history
        self._records = records

    def candidate(self, candidate: Candidate) -> Version:
        """Add one learned task; when others committed since its base, re-based without retraining.

        The record keeps the sigma it was trained to, so theta is the same bits on every base; the steps of sigma add
        up. An arrival that a version has already returns that version. Raises UnknownTask when it was learned and
        then removed.
        """
        return self._history.commit(lambda head: self._with_candidate(candidate, head))

    def _with_candidate(self, candidate: Candidate, head: Version) -> Version:
        if head.is_settled(candidate.arrival):
            return self._version_of(candidate, head)
        if head.has(candidate.task):
            raise StateError(f"version {head.number} has another task named {candidate.task!r}")
        watermark, settled = settle(head, candidate.arrival)
        entry = dataclasses.replace(candidate.entry, learned_in=head.number + 1)
        sigma, statistics = self._on_top(candidate, head)
        details = {"task": candidate.task, "arrival": candidate.arrival, "base": candidate.base}
        return dataclasses.replace(
            successor(head, "learn", f"learned {candidate.task}", candidate.commit_id, details),
            sigma=sigma,
            statistics=statistics,
            entries=(*head.entries, entry),
            watermark=watermark,
            settled=settled,
        )

    def _version_of(self, candidate: Candidate, head: Version) -> Version:
        for entry in head.entries:
            if entry.arrival == candidate.arrival and entry.name == candidate.task:
                return self._history.version(entry.learned_in)
        raise UnknownTask(
            f"{candidate.task!r} (arrival {candidate.arrival}) was forgotten or rolled back; version {head.number} "
            f"does not have it. To learn it again: `apd forget {candidate.task}`, then submit it"
        )

    def _on_top(self, candidate: Candidate, head: Version) -> tuple[SigmaRef, str]:
        """Sigma and statistics of the head with the candidate."""
        base = self._history.version(candidate.base)
        if (head.sigma, head.statistics) == (base.sigma, base.statistics):
            return candidate.sigma, candidate.statistics
        masks = self._records.read_masks(self._records.read_record(candidate.entry.record))
        statistics = self._records.add_to_statistics(head.statistics, masks, candidate.commit_id)
        if head.sigma is None:
            return candidate.sigma, statistics
        step = self._records.read_sparse(candidate.step)
        if base.sigma is None or not any(part.nnz for part in step.values()):
            return head.sigma, statistics
        moved = add_step(self._records.sigmas.load(head.sigma), step)
        return self._records.sigmas.write(moved, {"commit": candidate.commit_id}, near=head.sigma), statistics

    def consolidation(self, proposal: Proposal) -> Version:
        """Make the proposal the head. Raises AlreadyExists when another version follows its base: propose again."""

        def build(head: Version) -> Version:
            if head.number > proposal.base:
                return self._committed(proposal)
            return self._proposed(proposal, head)

        return self._history.commit(build)

    def _committed(self, proposal: Proposal) -> Version:
        version = self._history.version(proposal.base + 1)
        if version.commit_id != proposal.commit_id:
            raise AlreadyExists(
                f"version {version.number} ({version.kind}: {version.message}) came after version {proposal.base}, on "
                "which this consolidation is based; consolidate the new head"
            )
        return version

    def _proposed(self, proposal: Proposal, head: Version) -> Version:
        following = successor(head, proposal.kind, proposal.message, proposal.commit_id, proposal.details)
        return dataclasses.replace(
            following,
            sigma=proposal.sigma,
            statistics=proposal.statistics,
            clustering=proposal.clustering,
            consolidated=following.number if proposal.kind == "consolidate" else head.consolidated,
            entries=proposal.entries,
        )


def successor(head: Version, kind: Kind, message: str, commit_id: str, details: Mapping[str, JSON]) -> Version:
    """The head under the next number, ready to be changed."""
    return dataclasses.replace(
        head,
        number=head.number + 1,
        parent=head.number,
        kind=kind,
        message=message,
        commit_id=commit_id,
        created=now(),
        details=details,
    )


def add_step(sigma: Tensors, step: SparseTensors) -> Tensors:
    """Sigma + step."""
    return {name: step[name].add_to(tensor) if name in step else tensor for name, tensor in sigma.items()}
