"""A stream as people ask about it: reads the store, works nothing out anew that was measured before.

facts       its tasks, its state, whether a consolidation is due, whether one may become the head
capacity    how large it is, by the paper's count and in bytes
content     all that its report shows
"""

from apd.overview.content import build_report
from apd.overview.facts import accuracies, arrivals, is_due, reasons_to_refuse, status, tasks

__all__ = ["accuracies", "arrivals", "build_report", "is_due", "reasons_to_refuse", "status", "tasks"]
