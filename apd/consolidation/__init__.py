"""Every s tasks: one sigma for all, and one sigma_g for what the tasks of a cluster have in common.

    1. recentring   the sigma that needs the fewest taus; every task re-expressed on it, no theta moves
    2. embedding    per parameter, the t x t inner products of the full taus, and points that have them
    3. clustering   K-means over these points, from the previous clusters
    4. sharing      per cluster and element: where the members agree, sigma_g takes the centre and their taus are zero

Only step 4 moves a parameter, by no more than the tolerance, and only where that lowers the number of non-zeros; the
report says by how much. The bound holds for one consolidation: the next starts from the parameters this one leaves.

Steps 1, 2 and 4 are worked out block by block (`blocks`), so that many processes can share them, each of which holds
one block of all tasks; `parameter` has what is done with a block and a parameter. `consolidate` does all of it in this
process, to the same bits.
"""

from collections.abc import Sequence
from functools import cache, reduce
from operator import add

import torch

from apd.config import ConsolidationConfig
from apd.consolidation.blocks import CELLS, Block, blocks, cut, cut_sigma, joined
from apd.consolidation.parameter import Survey, appraise, decide, group, regroup, survey
from apd.consolidation.sharing import Agreement, agreement
from apd.errors import StateError
from apd.state import Clustering, Consolidation, TaskState, Tensors

__all__ = ["consolidate"]


def consolidate(
    tasks: Sequence[TaskState],
    sigma: Tensors,
    previous: Clustering,
    config: ConsolidationConfig,
    seed: int = 0,
    cells: int = CELLS,
) -> Consolidation:
    """Put all tasks on one sigma and cluster their taus, one clustering per shared parameter.

    tasks: every task of a version, one or more, names different, each relative to the sigma it was stored with.
    sigma: the newest. previous: outcome of the last consolidation, UNCLUSTERED for the first. seed: of the tasks drawn
    as new centres; nothing else is random. cells: how large a block may be; rounding apart, it decides nothing.

    No theta moves further than `config.tolerance` (half of it with the mid-range as centre), float rounding aside. For
    no parameter do the non-zeros of taus and sigma_g's grow: where a new clustering does not need fewer than the
    earlier one, the earlier one stays as it is. Raises StateError without tasks or with two of one name.
    """
    names = [task.name for task in tasks]
    if not tasks or len(set(names)) < len(tasks):
        raise StateError(f"consolidation needs tasks of different names, found {names}")
    parts = blocks({name: tuple(value.shape) for name, value in sigma.items()}, len(tasks), cells)
    rows = dict(zip(parts, cut(tasks, parts), strict=True))
    surveys = {part: survey(row, cut_sigma(sigma, part)) for part, row in rows.items()}
    of = {name: [part for part in parts if part.parameter == name] for name in sigma}
    products = {name: reduce(add, [surveys[part].products for part in of[name]]) for name in sigma}
    groups = {name: group(products[name], names, name, previous, config, seed) for name in sigma}
    found = {part: appraise(row, surveys[part].sigma, groups[part.parameter], config) for part, row in rows.items()}
    whole = {name: reduce(add, [found[part][0] for part in of[name]]) for name in sigma}
    decisions = {
        name: decide(whole[name], groups[name], names, previous.members.get(name, ()), config) for name in sigma
    }

    @cache
    def agreed(name: str, cluster: int) -> Agreement:
        return agreement(joined([(part, found[part][1][cluster]) for part in of[name]]))

    single = _joined_sigma(sigma, surveys)
    return Consolidation(
        tasks=tuple(regroup(task, single, decisions, agreed) for task in tasks),
        sigma=single,
        clustering=Clustering(previous.rounds + 1, {name: decision.members for name, decision in decisions.items()}),
        tolerance=config.tolerance,
        tau_stored=sum(tau.nnz for task in tasks for tau in task.tau.values()),
        sigma_moved=sum(one.moved for one in surveys.values()),
        report={name: decision.report for name, decision in decisions.items()},
    )


def _joined_sigma(newest: Tensors, surveys: dict[Block, Survey]) -> Tensors:
    """The sigma of all blocks; `newest` itself where it did not move."""
    if not any(one.moved for one in surveys.values()):
        return newest
    pieces = {name: [one.sigma[name] for part, one in surveys.items() if part.parameter == name] for name in newest}
    return {name: torch.cat(values) for name, values in pieces.items()}
