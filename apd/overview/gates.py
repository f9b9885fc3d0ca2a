"""What has to hold before something becomes the head: both gates look at the tasks' kept validation data.

Each answers with the reasons to refuse, one sentence each; none lets it pass.
"""

from apd.config import AcceptanceConfig
from apd.metrics import ROUNDING, falls_beyond
from apd.store import Candidate, Proposal, Stream, TaskEntry


def shortfalls(stream: Stream, candidate: Candidate) -> list[str]:
    """Where a newly trained task stays below what the stream demands of one (`AcceptanceConfig`)."""
    demanded, entry = stream.config.acceptance, candidate.entry
    return [*_below_least(demanded, entry), *_below_gain(demanded, entry)]


def _below_least(demanded: AcceptanceConfig, entry: TaskEntry) -> list[str]:
    found, least = entry.validation_accuracy, demanded.min_accuracy
    if least is None or (found is not None and found >= least - ROUNDING):
        return []
    return [f"{entry.name} has {_percent(found)} validation accuracy; at least {_percent(least)} is demanded"]


def _below_gain(demanded: AcceptanceConfig, entry: TaskEntry) -> list[str]:
    found, baseline, least = entry.validation_accuracy, entry.baseline, demanded.min_gain
    if least is None or (found is not None and baseline is not None and found - baseline >= least - ROUNDING):
        return []
    return [
        f"{entry.name} has {_percent(found)} validation accuracy, always answering its most frequent class "
        f"{_percent(baseline)}; at least {100 * least:g} points more than that are demanded"
    ]


def accuracies_before_and_after(stream: Stream, proposal: Proposal) -> dict[str, tuple[float, float]]:
    """Validation accuracy of every task of a consolidation's base, and as the consolidation would leave it."""
    before = {entry.name: entry.theta_key for entry in stream.version(proposal.base).entries}
    measured = stream.evaluations.get_all([*before.values(), *(entry.theta_key for entry in proposal.entries)])
    return {
        entry.name: (
            measured[before[entry.name]]["validation_accuracy"],
            measured[entry.theta_key]["validation_accuracy"],
        )
        for entry in proposal.entries
    }


def reasons_to_refuse(stream: Stream, proposal: Proposal) -> list[str]:
    """One sentence per task that would lose more validation accuracy than the stream allows."""
    limit = stream.config.consolidation.max_accuracy_drop
    return [
        f"{name} would lose {100 * (before - after):.1f} points of validation accuracy; "
        f"at most {100 * limit:g} are allowed"
        for name, (before, after) in accuracies_before_and_after(stream, proposal).items()
        if falls_beyond(before, after, limit)
    ]


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.1f} %"
