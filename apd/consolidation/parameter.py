"""One shared parameter of all tasks: how it is clustered now, how K-means would cluster it, and the cheaper of both."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apd.config import ConsolidationConfig
from apd.consolidation.clustering import Labels, kmeans, starting_centres
from apd.consolidation.embedding import embed, gram
from apd.consolidation.recentring import full_tau
from apd.consolidation.sharing import share
from apd.state import Clustering, ParameterReport, Sparse, TaskState


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    """Taus and sigma_g's of T tasks for one shared parameter."""

    taus: tuple[Sparse, ...]
    clusters: tuple[int | None, ...]
    """Cluster of each task, counted along `members`; None where it shares nothing."""
    local_shared: Mapping[int, Sparse]
    """sigma_g of the clusters that are formed."""
    members: tuple[tuple[str, ...], ...]
    """Task names of all clusters, those included that are not formed: they are where the next K-means starts."""
    inertia: float | None = None
    """None where no K-means was run."""
    refused: int = 0
    """Clusters of two or more that would have saved too little."""
    moves: tuple[float, ...] = ()
    """Largest absolute change of theta per task; empty where none moved."""

    @property
    def tau_nnz(self) -> int:
        """Non-zeros of all taus."""
        return sum(tau.nnz for tau in self.taus)

    @property
    def local_shared_nnz(self) -> int:
        """Non-zeros of all sigma_g's."""
        return sum(shared.nnz for shared in self.local_shared.values())


def as_it_is(tasks: Sequence[TaskState], name: str, previous: Clustering) -> Parameter:
    """The parameter with the clusters that its tasks have."""
    present = {task.name for task in tasks}
    return Parameter(
        taus=tuple(task.tau[name] for task in tasks),
        clusters=tuple(task.clusters.get(name) for task in tasks),
        local_shared={task.clusters[name]: task.local_shared[name] for task in tasks if name in task.clusters},
        members=tuple(tuple(n for n in names if n in present) for names in previous.members.get(name, ())),
    )


def clustered(
    tasks: Sequence[TaskState], name: str, previous: Clustering, config: ConsolidationConfig, seed: int
) -> Parameter:
    """The parameter with the clusters that K-means finds in the full taus, and what their members can share."""
    taus = [full_tau(task, name) for task in tasks]
    rows = {task.name: row for row, task in enumerate(tasks)}
    earlier = [[rows[n] for n in names if n in rows] for names in previous.members.get(name, ())]
    count = min((previous.rounds + 1) * config.clusters_per_round, len(tasks))
    points = embed(gram(taus))
    centres = starting_centres(points, earlier, count, (seed, previous.rounds, zlib.crc32(name.encode())))
    labels, inertia = kmeans(points, centres)
    return _formed(tasks, taus, _groups(labels), config, inertia)


def _groups(labels: Labels) -> list[list[int]]:
    """Rows of the tasks of every cluster that has any."""
    groups: dict[int, list[int]] = {}
    for row, label in enumerate(labels):
        groups.setdefault(int(label), []).append(row)
    return [groups[label] for label in sorted(groups)]


def _formed(
    tasks: Sequence[TaskState],
    taus: list[Sparse],
    groups: Sequence[Sequence[int]],
    config: ConsolidationConfig,
    inertia: float,
) -> Parameter:
    clusters: list[int | None] = [None] * len(tasks)
    moves, local_shared, refused = [0.0] * len(tasks), {}, 0
    for cluster, rows in enumerate(groups):
        shared = share([taus[row] for row in rows], config.tolerance, config.centre)
        if shared is None or shared.saved < config.least_saving:
            refused += len(rows) > 1
            continue
        local_shared[cluster] = shared.local_shared
        for row, tau, move in zip(rows, shared.taus, shared.moves, strict=True):
            taus[row], clusters[row], moves[row] = tau, cluster, move
    members = tuple(tuple(tasks[row].name for row in rows) for rows in groups)
    return Parameter(tuple(taus), tuple(clusters), local_shared, members, inertia, refused, tuple(moves))


def cheaper(before: Parameter, after: Parameter) -> Parameter:
    """The one with fewer non-zeros; `before`, which moves nothing, where it has clusters and they cost no more."""
    cost_before, cost_after = (part.tau_nnz + part.local_shared_nnz for part in (before, after))
    return before if before.local_shared and cost_before <= cost_after else after


def report(tasks: Sequence[TaskState], before: Parameter, after: Parameter) -> ParameterReport:
    """What changed from one to the other."""
    moves = zip(tasks, after.moves, strict=True) if after.moves else ()
    return ParameterReport(
        members=tuple(after.members[cluster] for cluster in sorted(after.local_shared)),
        inertia=after.inertia,
        refused=after.refused,
        tau_before=before.tau_nnz,
        tau_after=after.tau_nnz,
        local_shared_before=before.local_shared_nnz,
        local_shared_after=after.local_shared_nnz,
        moves={task.name: move for task, move in moves if move > 0},
    )
