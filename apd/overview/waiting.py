"""Which of the tasks that wait will be learned, and which failed too often; the same of a consolidation."""

from apd.store import Registration, Stream
from apd.store.failures import CONSOLIDATION, LIMIT, Failures
from apd.wording import counted


def learnable(stream: Stream) -> list[str]:
    """Names of the accepted tasks that no version has, in order of arrival, without those that are left out."""
    failures = Failures(stream.objects)
    return [one.task for one in stream.inbox.waiting() if not failures.gave_up(one.task)]


def left_out(stream: Stream) -> dict[str, str]:
    """The tasks that failed too often, each with its last reason; `apd retry` lets one try again."""
    failures = Failures(stream.objects)
    found = {one.task: failures.of(one.task) for one in stream.inbox.waiting()}
    return {task: reasons[-1] for task, reasons in found.items() if len(reasons) >= LIMIT}


def consolidation_left_out(stream: Stream) -> str | None:
    """The last reason of one that failed too often; None otherwise. One that is done lets the next try again."""
    reasons = Failures(stream.objects).of(CONSOLIDATION)
    return reasons[-1] if len(reasons) >= LIMIT else None


def describe(stream: Stream, arrival: Registration) -> str:
    """What is to be said of a task that waits."""
    reasons = Failures(stream.objects).of(arrival.task)
    if not reasons:
        return f"arrival {arrival.number}"
    times = counted(len(reasons), "time")
    consequence = "left out until `apd retry`" if len(reasons) >= LIMIT else "tried again by the next run"
    return f"arrival {arrival.number}, failed {times}, {consequence}: {reasons[-1]}"
