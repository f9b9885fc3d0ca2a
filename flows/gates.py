"""The steps between training and a version: both gates, and what becomes of what they refuse.

A new task has to reach what the stream demands; a consolidation must not cost a task more than the stream allows. What
is refused is kept aside, the head stays as it is, the run ends in a state of that name, and an event tells it.
"""

from collections.abc import Sequence
from typing import Any

from prefect import get_run_logger
from prefect.states import Completed

from apd import overview
from apd.errors import Forgotten
from apd.store import Candidate, Proposal, RefusedTask, Stream
from apd.store.failures import CONSOLIDATION, Failures
from apd.store.refusals import refused_task_key
from flows import dashboards, events
from flows.steps import measure, step


def refused(reasons: Sequence[str], outcome: list[str] | None = None) -> Any:
    """What a flow returns to end as refused; `outcome` is what its caller gets."""
    return Completed(name="Refused", message="; ".join(reasons), data=outcome)


@step("check task")
def check_task(url: str, candidate: Candidate) -> list[str]:
    """The reasons to refuse a trained task, none when it reaches what the stream demands; then it is kept aside."""
    stream = Stream.open(url)
    reasons = overview.shortfalls(stream, candidate)
    if reasons:
        place = stream.refusals.keep_task(candidate, reasons)
        try:
            stream.require_arrival(candidate.task, candidate.arrival)
        except Forgotten:
            stream.refusals.settle(candidate.task)
            raise
        advice = f"`apd accept {candidate.task}` learns it anyway, `apd retry {candidate.task}` trains it again"
        for reason in reasons:
            get_run_logger().error("refused: %s", reason)
        get_run_logger().error("the head stays; what was trained is kept in %s; %s", place, advice)
        dashboards.show_refused_task(stream, candidate, reasons, place)
        events.tell(events.TASK_REFUSED, url, task=candidate.task, reasons=reasons, report=place)
    return reasons


@step("show refused tasks")
def show_refused_tasks(url: str) -> None:
    """Put what was shown when they were refused on a server that does not have it."""
    stream = Stream.open(url)
    for name in sorted(stream.refusals.tasks()):
        kept = stream.refusals.task(name)
        if kept is not None and not stream.head().has(name):
            place = stream.objects.where(refused_task_key(name))
            dashboards.show_refused_task(stream, kept.candidate, kept.reasons, place)


@step("look up refusal")
def look_up(url: str, name: str) -> RefusedTask | None:
    """The task as it was trained and refused, None when no gate has refused it."""
    return Stream.open(url).refusals.task(name)


@step("withdraw refusal")
def withdraw(url: str, name: str) -> None:
    """Let a refused task wait again as if it had never been trained."""
    Stream.open(url).refusals.withdraw(name)


@step("gate", retries=4, delay=5, timeout=None)
def gate(url: str, proposal: Proposal) -> list[str]:
    """The reasons to refuse a consolidation, none when it may become the head; a refused one is kept aside."""
    stream = Stream.open(url)
    measure(stream, (*stream.version(proposal.base).entries, *proposal.entries), again=False)
    reasons = overview.reasons_to_refuse(stream, proposal)
    if reasons:
        accuracies = overview.accuracies_before_and_after(stream, proposal)
        place = stream.refusals.keep_consolidation(proposal, reasons, accuracies)
        what = "learning sigma again" if proposal.details["refit"] else f"tolerance {proposal.details['tolerance']:.3g}"
        get_run_logger().warning("%s costs too much, kept in %s: %s", what, place, "; ".join(reasons))
    return reasons


@step("refuse consolidation")
def refuse_consolidation(url: str, base: int) -> list[str]:
    """Tell that no tolerance passed the gate; returns the reasons of the smallest that was tried."""
    stream = Stream.open(url)
    refusals = stream.refusals.consolidations(base)
    reasons = list(refusals[-1].reasons)
    for reason in reasons:
        get_run_logger().error("consolidation refused: %s", reason)
    Failures(stream.objects).clear(CONSOLIDATION)
    place = dashboards.show_refused_consolidation(stream, refusals)
    get_run_logger().error("the head stays; %d refused consolidations are kept in %s", len(refusals), place)
    events.tell(events.REFUSED, url, reasons=reasons, report=place)
    return reasons
