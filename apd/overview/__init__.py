"""A stream as people ask about it: reads the store, works nothing out anew that was measured before.

facts       its tasks, its state, whether a consolidation is due
gates       whether a new task or a consolidation may become the head
waiting     what will be learned, and what failed too often
capacity    how large it is, by the paper's count and in bytes
growth      the same of every version, and what consolidations did
content     all that its report shows
"""

from apd.overview.content import build_report
from apd.overview.facts import (
    accuracies,
    arrivals,
    consolidation_waits,
    is_due,
    refit_is_ahead,
    refit_is_due,
    status,
    tasks,
)
from apd.overview.gates import accuracies_before_and_after, reasons_to_refuse, shortfalls
from apd.overview.growth import Growth, growth
from apd.overview.waiting import consolidation_left_out, learnable, left_out

__all__ = [
    "Growth",
    "accuracies",
    "accuracies_before_and_after",
    "arrivals",
    "build_report",
    "consolidation_left_out",
    "consolidation_waits",
    "growth",
    "is_due",
    "learnable",
    "left_out",
    "reasons_to_refuse",
    "refit_is_ahead",
    "refit_is_due",
    "shortfalls",
    "status",
    "tasks",
]
