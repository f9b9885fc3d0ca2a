"""One shared parameter of all tasks: how K-means would cluster it, what that would save, and whether it is done.

survey     per block      the sigma that needs the fewest taus, and the inner products of the taus on it
group      per parameter  K-means: which tasks are together
appraise   per block      what each cluster could share, and what that saves
decide     per parameter  new clusters, or those there are where new ones cost as much
regroup    per task       its new form
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from apd.config import ConsolidationConfig
from apd.consolidation.clustering import Labels, kmeans, starting_centres
from apd.consolidation.embedding import Floats, embed, gram
from apd.consolidation.recentring import full_tau, recentre
from apd.consolidation.sharing import Agreement, Shared, share
from apd.retroactive import re_express
from apd.state import Clustering, ParameterReport, Sparse, TaskState, Tensors


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """A block, before anything is clustered."""

    sigma: Tensors
    """The sigma of the block that leaves the fewest taus."""
    moved: int
    """Elements in which it is not the newest."""
    products: Floats
    """(T, T), inner products of the full taus on it."""


def survey(tasks: Sequence[TaskState], newest: Tensors) -> Survey:
    """tasks: a block of every task. newest: that block of the newest sigma."""
    (name,) = newest
    sigma, moved = recentre(tasks, newest)
    taus = [full_tau(re_express(task, sigma), name) for task in tasks]
    return Survey(sigma, moved, gram(taus))


@dataclass(frozen=True, slots=True)
class Groups:
    """What K-means made of a parameter."""

    rows: tuple[tuple[int, ...], ...]
    """Rows of the tasks of every cluster that has any."""
    inertia: float


def group(
    products: Floats, tasks: Sequence[str], name: str, previous: Clustering, config: ConsolidationConfig, seed: int
) -> Groups:
    """K-means over the tasks of these names, whose full taus have these inner products."""
    rows = {task: row for row, task in enumerate(tasks)}
    earlier = [[rows[n] for n in names if n in rows] for names in previous.members.get(name, ())]
    count = min((previous.rounds + 1) * config.clusters_per_round, len(tasks))
    points = embed(products)
    centres = starting_centres(points, earlier, count, (seed, previous.rounds, zlib.crc32(name.encode())))
    labels, inertia = kmeans(points, centres)
    return Groups(_by_label(labels), inertia)


def _by_label(labels: Labels) -> tuple[tuple[int, ...], ...]:
    """Rows of the tasks of every label that there is."""
    return tuple(tuple(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels))


@dataclass(frozen=True, slots=True)
class Offer:
    """What one cluster could share: counts that add up over blocks, and moves of which the largest counts."""

    saved: int
    """Non-zeros."""
    local_shared: int
    """Non-zeros of sigma_g."""
    moves: tuple[float, ...]
    """Largest absolute change per member."""

    def __add__(self, other: "Offer") -> "Offer":
        moves = tuple(map(max, self.moves, other.moves))
        return Offer(self.saved + other.saved, self.local_shared + other.local_shared, moves)


@dataclass(frozen=True, slots=True)
class Appraisal:
    """A block, or a whole parameter: what it stores as it is, and what every cluster could share."""

    tau: int
    """Non-zeros of the taus on the new sigma."""
    local_shared: int
    """Non-zeros of the sigma_g's that there are."""
    full: int
    """Non-zeros of tau + sigma_g over all tasks."""
    clusters: Mapping[str, int]
    """Cluster of every task that has one now, counted along the members of the earlier clustering."""
    offers: tuple[Offer, ...]
    """Per cluster of `Groups`."""

    def __add__(self, other: "Appraisal") -> "Appraisal":
        offers = tuple(mine + others for mine, others in zip(self.offers, other.offers, strict=True))
        local_shared, full = self.local_shared + other.local_shared, self.full + other.full
        return Appraisal(self.tau + other.tau, local_shared, full, self.clusters, offers)


def appraise(
    tasks: Sequence[TaskState], sigma: Tensors, groups: Groups, config: ConsolidationConfig
) -> tuple[Appraisal, list[Sparse]]:
    """The appraisal of a block of every task on this sigma, and per cluster the centres of what it could share."""
    (name,) = sigma
    placed = [re_express(task, sigma) for task in tasks]
    taus = [full_tau(task, name) for task in placed]
    shared = [share([taus[row] for row in rows], config.tolerance, config.centre) for rows in groups.rows]
    clustered = [task for task in placed if name in task.clusters]
    appraisal = Appraisal(
        tau=sum(task.tau[name].nnz for task in placed),
        local_shared=sum({task.clusters[name]: task.local_shared[name].nnz for task in clustered}.values()),
        full=sum(tau.nnz for tau in taus),
        clusters={task.name: task.clusters[name] for task in clustered},
        offers=tuple(map(_offer, shared)),
    )
    return appraisal, [one.centres for one in shared]


def _offer(shared: Shared) -> Offer:
    return Offer(shared.saved, int(shared.centres.values.count_nonzero()), shared.moves)


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a parameter."""

    members: tuple[tuple[str, ...], ...]
    """Task names of all clusters, those included that are not formed: they are where the next K-means starts."""
    formed: Mapping[str, int] | None
    """New cluster of every task that has one, counted along `members`; None where all stays as it is."""
    report: ParameterReport


def decide(
    found: Appraisal,
    groups: Groups,
    tasks: Sequence[str],
    before: Sequence[Sequence[str]],
    config: ConsolidationConfig,
) -> Decision:
    """The clustering with fewer non-zeros; the one there is, which moves nothing, where it is one and costs no more.

    found: of the whole parameter. before: members of the earlier clustering, of whom some may be gone.
    """
    members = tuple(tuple(tasks[row] for row in rows) for rows in groups.rows)
    formed = {number for number, offer in enumerate(found.offers) if offer.saved >= config.least_saving}
    cost = found.full - sum(found.offers[number].saved for number in formed)
    if found.clusters and found.tau + found.local_shared <= cost:
        return _as_it_is(found, tuple(tuple(name for name in names if name in tasks) for names in before))
    local_shared = sum(found.offers[number].local_shared for number in formed)
    moves = {
        name: move
        for number in formed
        for name, move in zip(members[number], found.offers[number].moves, strict=True)
        if move > 0
    }
    report = ParameterReport(
        members=tuple(members[number] for number in sorted(formed)),
        inertia=groups.inertia,
        refused=sum(len(names) > 1 for number, names in enumerate(members) if number not in formed),
        tau_before=found.tau,
        tau_after=cost - local_shared,
        local_shared_before=found.local_shared,
        local_shared_after=local_shared,
        moves={name: moves[name] for name in tasks if name in moves},
    )
    return Decision(members, {name: number for number in sorted(formed) for name in members[number]}, report)


def _as_it_is(found: Appraisal, members: tuple[tuple[str, ...], ...]) -> Decision:
    report = ParameterReport(
        members=tuple(members[number] for number in sorted(set(found.clusters.values()))),
        inertia=None,
        refused=0,
        tau_before=found.tau,
        tau_after=found.tau,
        local_shared_before=found.local_shared,
        local_shared_after=found.local_shared,
        moves={},
    )
    return Decision(members, None, report)


Agreements = Callable[[str, int], Agreement]
"""(parameter, cluster) -> what its members have in common, the same object every time."""


def regroup(task: TaskState, sigma: Tensors, decisions: Mapping[str, Decision], agreements: Agreements) -> TaskState:
    """A task on the new sigma, in its new clusters."""
    placed = re_express(task, sigma)
    taus, clusters, local_shared = dict(placed.tau), dict(placed.clusters), dict(placed.local_shared)
    for name, decision in decisions.items():
        if decision.formed is None:
            continue
        taus[name] = full_tau(placed, name)
        clusters.pop(name, None)
        local_shared.pop(name, None)
        if task.name in decision.formed:
            clusters[name] = decision.formed[task.name]
            agreed = agreements(name, clusters[name])
            taus[name], local_shared[name] = agreed.kept(taus[name]), agreed.local_shared
    return replace(placed, tau=taus, clusters=clusters, local_shared=local_shared)
