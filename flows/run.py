"""`run`: everything that waits, in order of arrival, as many at a time as the stream allows."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from prefect import flow, get_run_logger, runtime
from prefect.futures import PrefectFuture

from apd import overview
from apd.actors import cluster
from apd.errors import ApdError, Forgotten, TrainingFailed
from apd.store import Candidate, Stream
from apd.store.failures import CONSOLIDATION
from flows import gates, steps
from flows.consolidate import consolidate
from flows.dashboards import has_page
from flows.forms import Count, StreamUrl
from flows.ingest import ingest
from flows.names import run_name
from flows.report import report
from flows.runs import at_work, label, skipped
from flows.silent import end_silent

Training = PrefectFuture[Candidate | None]


@flow(flow_run_name=run_name)
def run(
    stream: StreamUrl, publish: bool = True, max_parallel: Count | None = None, workers: Count | None = None
) -> list[str]:
    """Ingest what lies in the inbox, learn what waits, consolidate when it is due, write the report.

    Then the same with what has arrived meanwhile, until nothing has. A task that cannot be learned does not hold up the
    others; it stays waiting, and the flow fails at its end. Nor does a consolidation that fails. A task below what the
    stream demands is kept aside, and the flow ends as Refused.

    Args:
        stream: URL of the stream, a folder or s3://bucket/prefix.
        publish: Write the report when something was learned or refused.
        max_parallel: Tasks that train at the same time. Not given: what the stream's `resources` say.
        workers: Actors that train one task together. Not given: what the stream's `resources` say.

    Returns:
        Names of the tasks that were learned.
    """
    end_silent(stream)
    reason = steps.no_stream(stream) or at_work(stream)
    if reason:
        return cast(list[str], skipped(reason))
    label(stream)
    waiting = ingest(stream)
    if not waiting and not overview.consolidation_waits(Stream.open(stream)):
        if publish and page_is_missing(stream):
            gates.show_refused_tasks(stream)
            report(stream)
        return []
    outcome = Outcome()
    with cluster(stream):
        steps.check_cluster(stream, workers)
        while True:
            learn_all(stream, trainings(stream, waiting, max_parallel, workers), publish, outcome)
            waiting = arrived_meanwhile(stream, outcome)
            if not waiting:
                break
    if outcome.complaints:
        raise ApdError("; ".join(outcome.complaints))
    return gates.refused(outcome.refused, outcome.learned) if outcome.refused else outcome.learned


def page_is_missing(stream: str) -> bool:
    """Whether a server that runs deployments does not show the stream: it is new, or has removed its oldest runs."""
    deployed = runtime.deployment.id is not None
    return deployed and bool(Stream.open(stream).head().entries) and not has_page(stream)


@dataclass(slots=True)
class Outcome:
    """What became of the tasks that waited."""

    tried: set[str] = field(default_factory=set)
    """Names of those that were trained, whatever came of it."""
    learned: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Why, of tasks below what the stream demands."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why, by task."""
    not_measured: dict[str, str] = field(default_factory=dict)
    """Why, by task that was learned."""
    not_consolidated: str | None = None
    """Why, where it was due and failed."""

    @property
    def news(self) -> int:
        """How many tasks a report should tell of."""
        return len(self.learned) + len(self.refused)

    @property
    def complaints(self) -> list[str]:
        """What the run could not do."""
        found = (
            ("not learned, still waiting", _listed(self.failed)),
            ("learned, but not measured", _listed(self.not_measured)),
            ("not consolidated, later tasks are learned all the same", self.not_consolidated),
        )
        return [f"{what}: {why}" for what, why in found if why]


def _listed(reasons: dict[str, str]) -> str:
    return "; ".join(f"{task} ({why})" for task, why in reasons.items())


def arrived_meanwhile(stream: str, outcome: Outcome) -> list[str]:
    """Names of the tasks that wait and were not tried; an announcement that found this run at work relies on it."""
    opened = Stream.open(stream)
    if opened.inbox.complete() or set(overview.learnable(opened)) - outcome.tried:
        return [task for task in ingest(stream) if task not in outcome.tried]
    return []


def learn_all(stream: str, started: Iterator[tuple[str, Training]], publish: bool, outcome: Outcome) -> None:
    """Learn the tasks of `trainings`, one commit after another, and report."""
    before = outcome.news
    consolidate_if_due(stream, publish, outcome)  # where an interrupted run left off
    for task, training in started:
        outcome.tried.add(task)
        try:
            version = _take_in(stream, result_of(training), outcome)
        except ApdError as error:
            reason = _noted(stream, task, error)
            if reason is None:
                get_run_logger().warning("%s was forgotten meanwhile", task)
                outcome.tried.discard(task)  # another may have come under its name
            else:
                get_run_logger().error("%s was not learned: %s", task, error)
                outcome.failed[task] = reason
            continue
        if version is not None:
            _measure(stream, task, version, outcome)
            consolidate_if_due(stream, publish, outcome)
    if publish and outcome.news > before:
        report(stream)


def _take_in(stream: str, candidate: Candidate | None, outcome: Outcome) -> int | None:
    """Make a trained task part of the model unless it is refused; None when there is no new version."""
    if candidate is None:
        return None
    reasons = gates.check_task(stream, candidate)
    if reasons:
        outcome.refused += reasons
        return None
    version = steps.commit(stream, candidate)
    outcome.learned.append(candidate.task)
    return version


def _measure(stream: str, task: str, version: int, outcome: Outcome) -> None:
    """What another version was re-based on may have to be measured; the task is learned all the same if that fails."""
    try:
        steps.evaluate(stream, version, again=False, task=task)
        steps.show_version(stream, version)
    except ApdError as error:
        get_run_logger().error("%s is learned as version %d, but was not measured: %s", task, version, error)
        outcome.not_measured[task] = _in_a_line(error)


def result_of(training: Training) -> Candidate | None:
    """What a training came to. Errors that are not ours, such as those of a stream's own network: TrainingFailed."""
    outcome = steps.first_done([training]).result(raise_on_failure=False)
    if isinstance(outcome, ApdError):
        raise outcome
    if isinstance(outcome, Exception):
        raise TrainingFailed(str(outcome)) from outcome
    return outcome


def _noted(stream: str, name: str, error: object) -> str | None:
    """The error in one line, counted unless it came from outside; None where the task was forgotten meanwhile."""
    reason = _in_a_line(error)
    if isinstance(error, steps.OUTSIDE):
        return reason
    gone = isinstance(error, Forgotten) or not steps.note_failure(stream, name, reason)
    return None if gone else reason


def _in_a_line(error: object) -> str:
    return (str(error).strip() or repr(error)).splitlines()[-1]


def trainings(
    stream: str, waiting: Sequence[str], max_parallel: int | None, workers: int | None
) -> Iterator[tuple[str, Training]]:
    """Every task with its training, in order of arrival; so many run ahead of the one that is yielded.

    A task starts on the head that there is when the task `max_parallel` places before it has been dealt with. So the
    head it starts on follows from the order of arrival alone, not from which training ends first. While the stream has
    no sigma the first task trains alone: it makes the sigma that the others start from. Tasks after a refit of sigma do
    not start before it.
    """
    opened, queue, running = Stream.open(stream), deque(waiting), deque[tuple[str, Training]]()
    width = max_parallel or opened.config.resources.max_parallel
    while queue or running:
        places = _places(opened, width)
        while queue and len(running) < places:
            task = queue.popleft()
            base = steps.decide_base(stream, task)
            if base is None:
                get_run_logger().warning("%s was forgotten while it waited", task)
            else:
                running.append((task, steps.train.submit(stream, task, base, workers)))
        if running:
            yield running.popleft()


def _places(stream: Stream, width: int) -> int:
    """How many tasks may train on the sigma there is, `width` at most."""
    head = stream.head()
    if head.sigma is None:
        return 1
    if overview.refit_is_ahead(stream, head):
        return min(width, max(1, stream.config.consolidation.consolidate_every - len(head.entries)))
    return width


def consolidate_if_due(stream: str, publish: bool, outcome: Outcome) -> None:
    """Consolidate when enough tasks were learned since the last time.

    Where that fails, the tasks that wait are learned all the same, on the head there is; the next run tries again, but
    not for ever.
    """
    if outcome.not_consolidated or not overview.consolidation_waits(Stream.open(stream)):
        return
    state = consolidate(stream, only_if_due=True, publish=publish, return_state=True)
    if not state.is_completed():
        error = state.result(raise_on_failure=False)
        get_run_logger().error("not consolidated: %s", error)
        outcome.not_consolidated = _noted(stream, CONSOLIDATION, error)
