"""From cells to figures: per method, the mean over orders for each seed, then mean and deviation over the seeds."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np

from apd import metrics
from apd.benchmark.cell import CellResult

SEPARATE = "stl"
"""The method that a forward transfer is measured against."""

Orders = Sequence[CellResult]
"""The cells of one method and seed."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured number over the seeds."""

    mean: float
    deviation: float | None
    """Standard deviation of the sample; None for one seed."""


@dataclass(frozen=True, slots=True)
class MethodSummary:
    """What a method came to. Accuracies are shares in [0, 1]; None is what the method or the orders cannot tell."""

    method: str
    accuracy: Figure
    """Test accuracy over all tasks after the last one."""
    validation_accuracy: Figure | None
    """The same on validation data, by which settings are chosen."""
    paper_capacity: Figure
    """Non-zeros over one network's size, after the last task."""
    byte_capacity: Figure
    """Bytes over one network's."""
    backward_transfer: Figure | None
    forgetting: Figure | None
    forward_transfer: Figure | None
    """Against the separate networks of the same orders and seeds; None without these."""
    average_disparity: Figure | None
    """AOPD: a task's largest less its smallest final accuracy over the orders, mean over tasks."""
    maximum_disparity: Figure | None
    """MOPD: the largest over tasks."""
    seconds: Figure
    """Processor time of one pass over the stream."""


def accuracy_matrix(result: CellResult) -> metrics.Matrix:
    """(T, T): row i after the i-th arrival, column j the j-th task, NaN before it arrived; not of joint training."""
    count = len(result.tasks)
    matrix = np.full((count, count), np.nan)
    for place, task in enumerate(result.tasks):
        matrix[place:, place] = task.accuracies
    return matrix


def final_accuracies(results: Sequence[CellResult]) -> tuple[list[str], metrics.Matrix]:
    """Task names, sorted, and (orders, T) accuracies after the last task; one or more cells over the same tasks."""
    names = sorted(task.task for task in results[0].tasks)
    finals = [{task.task: task.accuracies[-1] for task in result.tasks} for result in results]
    return names, np.array([[final[name] for name in names] for final in finals])


def summarise(results: Sequence[CellResult]) -> list[MethodSummary]:
    """One summary per method, in the order of their first cells; every method has the same orders and seeds."""
    methods = list(dict.fromkeys(result.cell.method for result in results))
    separate = {_meeting(cell): _learned(cell) for cell in results if cell.cell.method == SEPARATE}
    return [_summary(method, _by_seed(results, method), separate) for method in methods]


def _by_seed(results: Sequence[CellResult], method: str) -> list[list[CellResult]]:
    seeds: dict[int, list[CellResult]] = {}
    for result in results:
        if result.cell.method == method:
            seeds.setdefault(result.cell.seed, []).append(result)
    return list(seeds.values())


def _meeting(cell: CellResult) -> tuple[str, int]:
    """Order and seed: cells that agree in them met the same tasks with the same initial values."""
    return cell.cell.order, cell.cell.seed


def _learned(cell: CellResult) -> list[float]:
    """Test accuracy of each task when it was learned, in their order."""
    return [task.accuracies[0] for task in cell.tasks]


def _summary(
    method: str, seeds: Sequence[Orders], separate: Mapping[tuple[str, int], Sequence[float]]
) -> MethodSummary:
    beside = method != SEPARATE and all(_meeting(cell) in separate for orders in seeds for cell in orders)

    def transfer(cell: CellResult) -> float:
        return metrics.forward_transfer(accuracy_matrix(cell), separate[_meeting(cell)])

    sequential = not seeds[0][0].joint
    ordered = len(seeds[0]) > 1
    return MethodSummary(
        method=method,
        accuracy=_figure(seeds, _mean_of(lambda cell: fmean(task.accuracies[-1] for task in cell.tasks))),
        validation_accuracy=_figure(seeds, _mean_of(_validated)) if sequential else None,
        paper_capacity=_figure(seeds, _mean_of(lambda cell: cell.tasks[-1].paper_capacity)),
        byte_capacity=_figure(seeds, _mean_of(lambda cell: cell.byte_capacity)),
        backward_transfer=_figure(seeds, _mean_of(_of_matrix(metrics.backward_transfer))) if sequential else None,
        forgetting=_figure(seeds, _mean_of(_of_matrix(metrics.forgetting))) if sequential else None,
        forward_transfer=_figure(seeds, _mean_of(transfer)) if sequential and beside else None,
        average_disparity=_figure(seeds, _of_orders(metrics.average_order_disparity)) if ordered else None,
        maximum_disparity=_figure(seeds, _of_orders(metrics.maximum_order_disparity)) if ordered else None,
        seconds=_figure(seeds, _mean_of(lambda cell: math.fsum(task.seconds for task in cell.tasks))),
    )


def _figure(seeds: Sequence[Orders], measure: Callable[[Orders], float]) -> Figure:
    values = [measure(orders) for orders in seeds]
    return Figure(fmean(values), stdev(values) if len(values) > 1 else None)


def _mean_of(measure: Callable[[CellResult], float]) -> Callable[[Orders], float]:
    return lambda orders: fmean(map(measure, orders))


def _of_matrix(measure: Callable[[metrics.Matrix], float]) -> Callable[[CellResult], float]:
    return lambda cell: measure(accuracy_matrix(cell))


def _of_orders(measure: Callable[[metrics.Matrix], float]) -> Callable[[Orders], float]:
    return lambda orders: measure(final_accuracies(orders)[1])


def _validated(cell: CellResult) -> float:
    return fmean(task.validation_accuracy for task in cell.tasks if task.validation_accuracy is not None)
