"""The tasks of a stream in other orders of arrival: from the cells of a benchmark, for the stream's report."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from apd.benchmark.cell import CellResult
from apd.benchmark.protocol import Method, Protocol
from apd.config import LearningConfig, StreamConfig, to_json
from apd.errors import DataError
from apd.report.content import OrderRow
from apd.store.results import Results, differences


def method_like(place: Results, learning: LearningConfig) -> str:
    """The benchmark's label for learning like this: the variant, at this budget where there are cells of that."""
    labels = sorted({str(body["cell"]["method"]) for body in place.cells()})
    same = (label for label in labels if Method.parse(label) == Method(learning.variant, learning.capacity_per_task))
    return next(same, learning.variant)


def other_orders(place: Results, method: str, tasks: Sequence[str]) -> tuple[OrderRow, ...]:
    """Final accuracies in every order that the benchmark has, mean over seeds, except the stream's own order, `tasks`.

    method: as the benchmark calls it. tasks: names as they arrived. Raises DataError when the
    benchmark has no finished cell of the method, or other tasks.
    """
    found = [CellResult.from_json(body) for body in place.cells()]
    cells = [cell for cell in found if cell.cell.method == method]
    if not cells:
        methods = ", ".join(sorted({cell.cell.method for cell in found})) or "none"
        raise DataError(f"{place.url} has no finished cell of {method}; those that are finished are of: {methods}")
    by_order: dict[str, list[Mapping[str, float]]] = {}
    for cell in sorted(cells, key=lambda cell: (cell.cell.order, cell.cell.seed)):
        arrived = [task.task for task in cell.tasks]
        _require_same(place, arrived, tasks)
        if arrived != list(tasks):
            by_order.setdefault(cell.cell.order, []).append({task.task: task.accuracies[-1] for task in cell.tasks})
    return tuple(
        OrderRow(f"order {order}", tuple(fmean(final[task] for final in finals) for task in tasks))
        for order, finals in by_order.items()
    )


def other_settings(place: Results, method: str, config: StreamConfig) -> list[str]:
    """What the benchmark set otherwise than the stream does, so that part of the spread may come from that: no seed."""
    there = place.settings(defaults=to_json(Protocol("digits")))
    if (budget := Method.parse(method).capacity_per_task) is not None:
        there["learning.capacity_per_task"] = budget
    own = ("learning.seed", "learning.variant")
    differing = differences(there, to_json(config))
    return [
        f"{name} {old}, in the stream {new}"
        for name, (old, new) in differing.items()
        if name.startswith(("network.", "learning.", "consolidation.")) and name not in own
    ]


def _require_same(place: Results, arrived: Sequence[str], tasks: Sequence[str]) -> None:
    strange = sorted({*arrived} ^ {*tasks})
    if strange:
        names = ", ".join(strange[:5]) + (" and more" if len(strange) > 5 else "")
        raise DataError(f"{place.url} and the stream must have the same tasks, but one of them lacks {names}")
