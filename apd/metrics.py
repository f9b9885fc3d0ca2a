"""What a stream's results are worth: accuracy, forgetting, order robustness, capacity.

An accuracy matrix is (T, T) float64: row i is measured after learning task i, column j is task j, in [0, 1]; NaN where
task j was not yet learned.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from apd.data import TaskData
from apd.errors import StateError
from apd.state import TaskState, Tensors

Matrix = NDArray[np.float64]

ROUNDING = 1e-9
"""Accuracies are ratios of counts; what is demanded exactly may be missed by less than this: 0.7 - 0.5 < 0.2."""


def falls_beyond(before: float, after: float, limit: float) -> bool:
    """Whether an accuracy falls by more than the limit; all in [0, 1]."""
    return before - after > limit + ROUNDING


def average_accuracy(matrix: Matrix) -> float:
    """Mean accuracy over all tasks after the last one: mean_j R[T, j]."""
    return float(_last_row(matrix).mean())


def backward_transfer(matrix: Matrix) -> float:
    """BWT = mean_{j<T} (R[T, j] - R[j, j]): negative when tasks lost accuracy since; 0 for one task."""
    change = _last_row(matrix) - np.diagonal(matrix)
    return float(change[:-1].mean()) if len(change) > 1 else 0.0


def forgetting(matrix: Matrix) -> float:
    """mean_{j<T} (max_{i<T} R[i, j] - R[T, j]): what is lost from each task's best; 0 for one task."""
    if len(matrix) < 2:
        return 0.0
    best = np.nanmax(matrix[:-1, :-1], axis=0)
    return float((best - _last_row(matrix)[:-1]).mean())


def forward_transfer(matrix: Matrix, separate: Sequence[float]) -> float:
    """FWT = mean_{j>1} (R[j, j] - separate[j]): what learning after others gains over a network of the task's own.

    separate: accuracy of such a network per task, in the matrix's order. 0 for one task, which has nothing before it.
    """
    gain = np.diagonal(matrix) - np.asarray(separate, dtype=np.float64)
    return float(gain[1:].mean()) if len(gain) > 1 else 0.0


def most_frequent(data: TaskData) -> float:
    """Validation accuracy, in [0, 1], of always answering the class that the training split has most of."""
    answer = torch.mode(data.train.labels).values
    return float((data.validation.labels == answer).double().mean())


def order_disparity(final: Matrix) -> Matrix:
    """OPD per task: its largest minus its smallest final accuracy over the orders of arrival.

    final: (orders, T), column j is the same task in every order. Returns (T,).
    """
    return np.asarray(np.ptp(final, axis=0), dtype=np.float64)


def average_order_disparity(final: Matrix) -> float:
    """AOPD: mean of OPD over the tasks."""
    return float(order_disparity(final).mean())


def maximum_order_disparity(final: Matrix) -> float:
    """MOPD: largest OPD of any task."""
    return float(order_disparity(final).max())


def paper_capacity(tasks: Sequence[TaskState], sigma: Tensors, head: Sequence[str]) -> float:
    """Non-zeros of the whole model over the size of one network's body with all heads, as the paper counts.

        ( |sigma|_0 + sum_t (|v_t| + |tau_t|_0) + sum_g |sigma_g|_0 + private of the last task )
        / ( P + private of the last task but its head + heads of all tasks )

    tasks: one or more, in order of arrival; a task relative to another sigma counts with the tau it has on this one.
    head: names of the head's tensors. 1.0 is one network; separate networks come to about the number of tasks.
    """
    private = tasks[-1].private
    shared = sum(value.numel() for value in sigma.values())
    body = sum(value.numel() for name, value in private.items() if name not in head)
    own_head = sum(private[name].numel() for name in head)
    heads = sum(task.private[name].numel() for task in tasks for name in head)
    non_zeros = sum(int(value.count_nonzero()) for value in sigma.values()) + body + own_head
    non_zeros += sum(value.numel() for task in tasks for value in task.mask_logits.values())
    non_zeros += sum(count for task in tasks for count in tau_counts(task, sigma).values())
    non_zeros += sum(_local_shared_counts(tasks).values())
    return non_zeros / (shared + body + heads)


def tau_counts(task: TaskState, sigma: Tensors) -> dict[str, int]:
    """Non-zeros of tau per parameter once the task is relative to this sigma."""
    counts = {}
    for name, own in task.sigma.items():
        if own.shape != sigma[name].shape:
            raise StateError(
                f"sigma[{name!r}] is {tuple(sigma[name].shape)}, task {task.name!r} has {tuple(own.shape)}"
            )
        moved = own is not sigma[name] and (own != sigma[name])
        if moved is False or not bool(moved.any()):
            counts[name] = task.tau[name].nnz
        else:
            counts[name] = int(((task.tau[name].to_dense() != 0) | moved).sum())
    return counts


def tau_density(tasks: Sequence[TaskState], sigma: Tensors) -> dict[str, float]:
    """Non-zeros of all taus together over the size of the parameter they belong to, per parameter."""
    totals = dict.fromkeys(sigma, 0)
    for task in tasks:
        for name, count in tau_counts(task, sigma).items():
            totals[name] += count
    return {name: total / sigma[name].numel() for name, total in totals.items()}


def _local_shared_counts(tasks: Sequence[TaskState]) -> dict[tuple[str, int], int]:
    """Non-zeros per (parameter, cluster): members of one cluster share one sigma_g."""
    return {(name, task.clusters[name]): part.nnz for task in tasks for name, part in task.local_shared.items()}


def _last_row(matrix: Matrix) -> Matrix:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise StateError(f"an accuracy matrix is square and not empty, found {matrix.shape}")
    return np.asarray(matrix[-1])
