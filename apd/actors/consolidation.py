"""A consolidation by several actors, each of which holds one portion of blocks of all tasks, or one task, at a time.

    survey     per portion   the sigma of each block, and the inner products of the taus on it
    group      once          K-means per parameter, and the new sigma
    appraise   per portion   what every cluster could share, and what that saves
    decide     here          per parameter, from counts alone
    rewrite    per task      its new form
    conclude   once          the proposal

What is large goes through the store, as blobs that garbage collection removes when they are old and no version names
them. The bits are those of `apd.consolidation.consolidate` in one process.

Memory, for t tasks and P parameters: an actor holds a portion (`apd.consolidation.blocks`: 12 bytes for each non-zero
in it, at most 32 * CELLS bytes, 0.5 GiB) beside one task and a few sigmas (4 P bytes each); while it groups, 8 t^2
bytes a few times over. The caller holds names and counts. Measured with t = 200 at P = 163,840, every task on a sigma
of its own: 3 MB more in the caller, 250 and 325 MB in two actors, 190 at an eighth of CELLS; 507 MB in one process.
"""

import functools
import operator
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from apd.actors.crew import crew
from apd.actors.workers import Worker
from apd.config import ConsolidationConfig
from apd.consolidation.blocks import CELLS, Block, blocks, cut, cut_sigma, joined, portions
from apd.consolidation.parameter import Appraisal, Decision, Groups, appraise, decide, group, regroup, survey
from apd.consolidation.sharing import Agreement, agreement
from apd.errors import StateError
from apd.networks import from_config
from apd.state import Clustering, Regrouping, TaskState, Tensors
from apd.store import Proposal, SigmaRef, Stream, TaskEntry, Version
from apd.store.proposals import conclude, rewrite, write_sums
from apd.store.sigmas import differences, replace_elements

TOGETHER = 16
"""Tasks that are rewritten by one call, which is told what was decided on all of them."""

CACHED = 16
"""Formed clusters whose centres an actor keeps while it rewrites tasks."""

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Job:
    """What all actors of one consolidation are told."""

    base: int
    """Number of the version."""
    tolerance: float
    """In place of the stream's own."""
    commit: str
    """For which the blobs are written."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A block; digests of blobs."""

    block: Block
    moved: int
    """Elements in which its sigma is not the newest."""
    sigma: str
    """Their new values, sparse."""
    products: str


@dataclass(frozen=True, slots=True)
class Grouped:
    """All parameters."""

    sigma: SigmaRef
    groups: dict[str, Groups]


@dataclass(frozen=True, slots=True)
class Appraised:
    """A block."""

    block: Block
    appraisal: Appraisal
    centres: tuple[str, ...]
    """Per cluster, digest of what it could share, sparse."""


Pieces = dict[tuple[str, int], tuple[tuple[Block, str], ...]]
"""(parameter, formed cluster) -> its centres, block by block."""


def propose(stream: Stream, base: int, tolerance: float, cells: int = CELLS) -> Proposal:
    """Consolidate version `base` on the cluster; the proposal's blobs are in the store, for the caller to commit.

    Raises StateError when the version has no tasks.
    """
    started, version, job = time.monotonic(), stream.version(base), Job(base, tolerance, secrets.token_hex(16))
    if version.sigma is None:
        raise StateError(f"version {base} of {stream.url} has no tasks: there is nothing to consolidate")
    tasks = len(version.entries)
    spec = from_config(stream.config).spec(2)
    read = portions(blocks(spec.shared, tasks, cells), tasks, cells)
    resources = replace(stream.config.resources, num_gpus=0.0)
    with crew(Consolidator, stream.url, resources, most=-(-tasks * spec.size // cells)) as work:
        surveyed = _flat(work.each("survey", read, job))
        grouped: Grouped = work.one("group", surveyed, job)
        appraised = _flat(work.each("appraise", read, job, grouped))
        outcome, pieces, decisions = _decided(stream, version, job, surveyed, grouped, appraised)
        some = [version.entries[start : start + TOGETHER] for start in range(0, tasks, TOGETHER)]
        entries = _flat(work.each("rewrite", some, job, grouped.sigma, decisions, pieces))
        proposal: Proposal = work.one("conclude", job, grouped.sigma, outcome, entries, time.monotonic() - started)
    return proposal


def _flat(found: Iterable[Sequence[Found]]) -> list[Found]:
    return [one for some in found for one in some]


def _decided(
    stream: Stream,
    version: Version,
    job: Job,
    surveyed: Sequence[Surveyed],
    grouped: Grouped,
    found: Sequence[Appraised],
) -> tuple[Regrouping, Pieces, dict[str, Decision]]:
    """What becomes of every parameter, and where the centres of the formed clusters are."""
    config, previous = settings(stream, job), stream.clustering(version)
    names = [entry.name for entry in version.entries]
    decisions, pieces = dict[str, Decision](), Pieces()
    for name, groups in grouped.groups.items():
        own = [one for one in found if one.block.parameter == name]
        whole = functools.reduce(operator.add, [one.appraisal for one in own])
        decisions[name] = decide(whole, groups, names, previous.members.get(name, ()), config)
        for cluster in set((decisions[name].formed or {}).values()):
            pieces[name, cluster] = tuple((one.block, one.centres[cluster]) for one in own)
    outcome = Regrouping(
        clustering=Clustering(previous.rounds + 1, {name: one.members for name, one in decisions.items()}),
        tolerance=job.tolerance,
        tau_stored=sum(entry.tau_nnz for entry in version.entries),
        sigma_moved=sum(one.moved for one in surveyed),
        report={name: one.report for name, one in decisions.items()},
    )
    return outcome, pieces, decisions


def settings(stream: Stream, job: Job) -> ConsolidationConfig:
    """The stream's own, at the tolerance of this job."""
    return replace(stream.config.consolidation, tolerance=job.tolerance)


class Consolidator(Worker):
    """What one actor does of a consolidation."""

    def survey(self, portion: Sequence[Block], job: Job) -> list[Surveyed]:
        """Read these blocks of every task; find their sigma and the inner products of the taus on it."""
        version = self.stream.version(job.base)
        newest = self._newest(version)
        found = []
        for part, row in zip(portion, self._cut(version, portion), strict=True):
            before = cut_sigma(newest, part)
            one = survey(row, before)
            changed = differences(before, one.sigma)
            assert changed is not None  # same names, shapes and dtypes
            sigma = self.stream.records.write_sparse(changed, {"commit": job.commit})
            products = {"products": torch.from_numpy(one.products)}
            where = self.stream.records.write_dense(products, {"commit": job.commit})
            found.append(Surveyed(part, one.moved, sigma, where))
        return found

    def group(self, surveyed: Sequence[Surveyed], job: Job) -> Grouped:
        """Cluster the tasks, parameter by parameter, and store the sigma of all blocks."""
        stream, records = self.stream, self.stream.records
        version = stream.version(job.base)
        names, previous, config = (
            [entry.name for entry in version.entries],
            stream.clustering(version),
            settings(stream, job),
        )
        groups, changed = {}, {}
        for name in self._newest(version):
            own = [one for one in surveyed if one.block.parameter == name]
            products = functools.reduce(
                operator.add, (records.read_dense(one.products)["products"].numpy() for one in own)
            )
            groups[name] = group(products, names, name, previous, config, stream.config.learning.seed)
            changed[name] = joined([(one.block, records.read_sparse(one.sigma)[name]) for one in own])
        single = replace_elements(self._newest(version), changed, f"the sigma of version {version.number}")
        return Grouped(records.sigmas.write(single, {"commit": job.commit}, near=version.sigma), groups)

    def appraise(self, portion: Sequence[Block], job: Job, grouped: Grouped) -> list[Appraised]:
        """Read these blocks of every task again; find what the clusters could share there."""
        stream = self.stream
        sigma, config = stream.load_sigma(grouped.sigma), settings(stream, job)
        found = []
        for part, row in zip(portion, self._cut(stream.version(job.base), portion), strict=True):
            groups = grouped.groups[part.parameter]
            appraisal, centres = appraise(row, cut_sigma(sigma, part), groups, config)
            owner = {"commit": job.commit}
            stored = tuple(stream.records.write_sparse({"centres": one}, owner) for one in centres)
            found.append(Appraised(part, appraisal, stored))
        return found

    def rewrite(
        self,
        entries: Sequence[TaskEntry],
        job: Job,
        sigma: SigmaRef,
        decisions: Mapping[str, Decision],
        pieces: Pieces,
    ) -> list[TaskEntry]:
        """Store these tasks in their new form, one after another."""
        stream = self.stream
        single = stream.load_sigma(sigma)

        @functools.lru_cache(CACHED)
        def agreed(name: str, cluster: int) -> Agreement:
            own = [(part, stream.records.read_sparse(digest)["centres"]) for part, digest in pieces[name, cluster]]
            return agreement(joined(own))

        def rewritten(entry: TaskEntry) -> TaskEntry:
            task = regroup(stream.load_entry(entry), single, decisions, agreed)
            return rewrite(stream.records, entry, task, sigma, job.commit)

        return [rewritten(entry) for entry in entries]

    def conclude(
        self, job: Job, sigma: SigmaRef, outcome: Regrouping, entries: Sequence[TaskEntry], seconds: float
    ) -> Proposal:
        """Store what was decided; seconds: that it took."""
        records, version = self.stream.records, self.stream.version(job.base)
        masks = (records.read_masks(records.read_record(entry.record)) for entry in entries)
        statistics = write_sums(records, masks, job.commit)
        return conclude(records, outcome, version, "consolidate", job.commit, entries, sigma, statistics, seconds)

    def _newest(self, version: Version) -> Tensors:
        assert version.sigma is not None  # `propose` refuses a version without tasks
        return self.stream.load_sigma(version.sigma)

    def _cut(self, version: Version, portion: Sequence[Block]) -> list[list[TaskState]]:
        """These blocks of every task; one whole task at a time is held beside them."""
        return cut((self.stream.load_entry(entry) for entry in version.entries), portion)
