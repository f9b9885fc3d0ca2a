"""Every s tasks: one sigma for all, and one sigma_g for what the tasks of a cluster have in common.

    1. recentring   the sigma that needs the fewest taus; every task re-expressed on it, no theta moves
    2. embedding    per parameter, the t x t inner products of the full taus, and points that have them
    3. clustering   K-means over these points, from the previous clusters
    4. sharing      per cluster and element: where the members agree, sigma_g takes the centre and their taus are zero

Only step 4 moves a parameter, by no more than the tolerance, and only where that lowers the number of non-zeros; the
report says by how much. The bound holds for one consolidation: the next starts from the parameters this one leaves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from apd.config import ConsolidationConfig
from apd.consolidation.parameter import Parameter, as_it_is, cheaper, clustered, report
from apd.consolidation.recentring import recentre
from apd.errors import StateError
from apd.retroactive import re_express
from apd.state import Clustering, Consolidation, TaskState, Tensors

__all__ = ["consolidate"]


def consolidate(
    tasks: Sequence[TaskState], sigma: Tensors, previous: Clustering, config: ConsolidationConfig, seed: int = 0
) -> Consolidation:
    """Put all tasks on one sigma and cluster their taus, one clustering per shared parameter.

    tasks: every task of a version, one or more, names different, each relative to the sigma it was stored with.
    sigma: the newest. previous: outcome of the last consolidation, UNCLUSTERED for the first. seed: of the tasks drawn
    as new centres; nothing else is random.

    No theta moves further than `config.tolerance` (half of it with the mid-range as centre), float rounding aside. For
    no parameter do the non-zeros of taus and sigma_g's grow: where a new clustering does not need fewer than the
    earlier one, the earlier one stays as it is. Raises StateError without tasks or with two of one name.
    """
    if not tasks or len({task.name for task in tasks}) < len(tasks):
        raise StateError(f"consolidation needs tasks of different names, found {[task.name for task in tasks]}")
    single, moved = recentre(tasks, sigma)
    placed = [re_express(task, single) for task in tasks]
    before = {name: as_it_is(placed, name, previous) for name in single}
    after = {name: cheaper(before[name], clustered(placed, name, previous, config, seed)) for name in single}
    return Consolidation(
        tasks=tuple(_with_parameters(task, row, after) for row, task in enumerate(placed)),
        sigma=single,
        clustering=Clustering(previous.rounds + 1, {name: part.members for name, part in after.items()}),
        tolerance=config.tolerance,
        tau_stored=sum(tau.nnz for task in tasks for tau in task.tau.values()),
        sigma_moved=moved,
        report={name: report(placed, before[name], after[name]) for name in single},
    )


def _with_parameters(task: TaskState, row: int, parameters: Mapping[str, Parameter]) -> TaskState:
    """The task in row `row` with its taus, clusters and sigma_g's of these parameters."""
    taus, clusters, local_shared = {}, {}, {}
    for name, part in parameters.items():
        taus[name], cluster = part.taus[row], part.clusters[row]
        if cluster is not None:
            clusters[name], local_shared[name] = cluster, part.local_shared[cluster]
    return replace(task, tau=taus, clusters=clusters, local_shared=local_shared)
