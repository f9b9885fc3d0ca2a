"""The figures a report opens with, derived from its content.

    forgetting of a task  =  accuracy when learned - accuracy now  =  sum of the losses from version to version

so it splits without remainder by what made each version: consolidation, which may lose accuracy within the stream's
tolerance, and everything else, which is built to lose none. (`apd.metrics.forgetting` counts from each task's best
accuracy instead and leaves out the last task, as the literature does; it does not split.)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from apd.metrics import average_order_disparity, maximum_order_disparity
from apd.report.content import Accuracy, AccuracyRow, Report

CONSOLIDATE = "consolidate"


@dataclass(frozen=True, slots=True)
class Average:
    """A mean, and over how many tasks: not every baseline is run for every task."""

    value: float
    count: int


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Mean accuracy lost per task since it was learned; a negative part is accuracy gained."""

    consolidation: float
    everything_else: float

    @property
    def total(self) -> float:
        """Mean of accuracy when learned less accuracy now."""
        return self.consolidation + self.everything_else


@dataclass(frozen=True, slots=True)
class Orders:
    """Spread of a task's final accuracy over orders of arrival (max - min, "OPD"): its mean and maximum over tasks."""

    average: float
    maximum: float
    count: int
    """Orders measured."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Headline figures; None where nobody measured them."""

    tasks: int
    when_learned: Average | None
    now: Average | None
    separate: Average | None
    fine_tuning: Average | None
    forgetting: Forgetting | None
    fine_tuning_forgetting: float | None
    orders: Orders | None
    paper_capacity: float | None
    """Share of one network."""
    bytes: int | None
    """Stored for the whole stream."""
    byte_share: float | None
    """Those bytes over the bytes of one network."""
    learning_seconds: float | None
    consolidation_seconds: float | None

    @property
    def averages(self) -> list[tuple[str, Average]]:
        """Average accuracies that were measured, each by its name."""
        named = (
            ("when learned", self.when_learned),
            ("now", self.now),
            ("separate networks", self.separate),
            ("fine-tuning", self.fine_tuning),
        )
        return [(name, value) for name, value in named if value]


def summarise(report: Report) -> Summary:
    """The headline figures of a report."""
    tasks = report.tasks
    last = report.capacity[-1] if tasks and report.capacity else None  # a version without tasks has no point of its own
    fine_tuning = forgetting(report.fine_tuning)
    return Summary(
        tasks=len(tasks),
        when_learned=average(task.accuracy_when_learned for task in tasks),
        now=average(task.accuracy_now for task in tasks),
        separate=average(task.separate for task in tasks),
        fine_tuning=average(task.fine_tuning for task in tasks),
        forgetting=forgetting(report.accuracy),
        fine_tuning_forgetting=fine_tuning.total if fine_tuning else None,
        orders=order_spread(report),
        paper_capacity=last.paper_capacity if last else None,
        bytes=last.bytes if last else None,
        byte_share=last.bytes / report.network_bytes if last else None,
        learning_seconds=_total(task.seconds for task in tasks),
        consolidation_seconds=_total(row.seconds for row in report.consolidations),
    )


def average(values: Iterable[Accuracy]) -> Average | None:
    """Mean over the known values."""
    known = [value for value in values if value is not None]
    return Average(sum(known) / len(known), len(known)) if known else None


def forgetting(rows: Sequence[AccuracyRow]) -> Forgetting | None:
    """Split the accuracy lost since each task's first row by the kind of version that lost it; mean over tasks."""
    lost = {True: 0.0, False: 0.0}
    latest: dict[int, float] = {}
    for row in rows:
        for task, accuracy in enumerate(row.accuracies):
            if accuracy is not None:
                lost[row.kind == CONSOLIDATE] += latest.get(task, accuracy) - accuracy
                latest[task] = accuracy
    return Forgetting(lost[True] / len(latest), lost[False] / len(latest)) if latest else None


def order_spread(report: Report) -> Orders | None:
    """AOPD and MOPD over the report's own order and the others measured; None without another, or with gaps."""
    own = [task.accuracy_now for task in report.tasks if task.accuracy_now is not None]
    if not report.orders or len(own) < len(report.tasks):
        return None
    final = np.array([own, *(row.accuracies for row in report.orders)])
    return Orders(average_order_disparity(final), maximum_order_disparity(final), len(final)) if own else None


def _total(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
