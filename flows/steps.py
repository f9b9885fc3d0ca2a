"""The steps that flows are made of: functions of `apd` as Prefect tasks.

The only place with retries, timeouts and cache policy. Two kinds of trouble pass by themselves and are tried again: storage
that cannot be reached for a while, and a Ray worker that was lost. Everything else is raised at once. Nothing is cached:
every step is idempotent through the store, which knows better than a hash of inputs what was done.
"""

from collections.abc import Iterator
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task, exponential_backoff

from apd import actors, summary
from apd.data import validate_task
from apd.errors import ClusterError, TaskRejected, Unreachable
from apd.report import markdown_tables, render_page
from apd.store import Candidate, Proposal, Stream, TaskEntry, Version
from apd.training import Progress
from flows.names import artifact_key

PASSING = (Unreachable, ClusterError, ConnectionError, TimeoutError)


def passes(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a failure may pass by itself, so that trying again makes sense."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, PASSING)


quick = {
    "cache_policy": NO_CACHE,
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": passes,
}
heavy = quick | {"retries": 4, "retry_delay_seconds": exponential_backoff(5)}


@task(name="find arrivals", **quick)
def find_arrivals(url: str) -> list[str]:
    """Validate every complete folder of the inbox: accept it in arrival order, or reject it with the reason."""
    log, stream = get_run_logger(), Stream.open(url)
    accepted = []
    for folder in stream.inbox.complete():
        try:
            info = validate_task(stream.inbox.folder(folder), stream.config)
            number = stream.inbox.accept(folder, info)
        except TaskRejected as reason:
            stream.inbox.reject(folder, str(reason))
            log.warning("rejected %s: %s", folder, reason)
            continue
        accepted.append(info.name)
        log.info("accepted %s as arrival %d: %d classes", info.name, number, len(info.classes))
    for folder in stream.inbox.incomplete():
        log.info("waiting for %s: its task.json is not there yet", folder)
    return accepted


@task(name="list waiting", **quick)
def list_waiting(url: str) -> list[str]:
    """Names of the accepted tasks that no version has yet, in arrival order."""
    return [arrival.task for arrival in Stream.open(url).inbox.waiting()]


@task(name="train", **heavy)
def train(url: str, name: str) -> Candidate | None:
    """Train a task on a Ray actor; None when the head already has it. Every epoch goes to the log and the progress bar."""
    stream = Stream.open(url)
    head = stream.head()
    if head.has(name):
        return None
    work = actors.events(actors.Trainer, "learn", url, name, head.number, resources=stream.config.resources)
    return _watch(work, stream.name, name)


def _watch(work: Iterator[Progress | Candidate], stream: str, name: str) -> Candidate | None:
    log, shown = get_run_logger(), 0.0
    bar = create_progress_artifact(0.0, key=artifact_key("progress", stream, name), description=f"training {name}")
    for event in work:
        if isinstance(event, Candidate):
            return event
        log.info(
            "%s: epoch %d/%d  loss %.3f  validation accuracy %.1f %%  tau %.2f %% of P",
            *(name, event.epoch, event.epochs, event.loss, 100 * event.validation_accuracy, 100 * event.tau_density),
        )
        if event.seconds - shown >= 2 or event.epoch == event.epochs:
            update_progress_artifact(bar, progress=100 * event.epoch / event.epochs)
            shown = event.seconds
    raise ClusterError(f"the actor training {name} ended without a result")


@task(name="commit", **quick)
def commit(url: str, candidate: Candidate) -> int:
    """Make the candidate part of a new version; a lost race is re-based, the same candidate twice is one version."""
    version = Stream.open(url).commit_candidate(candidate)
    get_run_logger().info("committed %s as version %d", candidate.task, version.number)
    return version.number


@task(name="evaluate", **heavy)
def evaluate(url: str, version: int | None, again: bool) -> list[actors.Evaluation]:
    """Measure every task whose parameters have not been measured before (`again`: all), on a Ray actor."""
    stream = Stream.open(url)
    entries = (stream.head() if version is None else stream.version(version)).entries
    return measure(stream, entries, again)


def measure(stream: Stream, entries: tuple[TaskEntry, ...], again: bool) -> list[actors.Evaluation]:
    """Evaluations of these states; a state that was measured keeps its record, for its theta key proves it is the same."""
    log = get_run_logger()
    todo = [entry for entry in entries if again or stream.evaluations.get(entry.theta_key) is None]
    log.info("evaluating %d of %d tasks; the others have not changed", len(todo), len(entries))
    if not todo:
        return []
    results = []
    for result in actors.events(actors.Evaluator, "evaluate", stream.url, todo, resources=stream.config.resources):
        log.info("%s: test accuracy %.1f %%", result.task, 100 * result.test_accuracy)
        results.append(result)
    return results


@task(name="cluster", **heavy)
def cluster(url: str, version: int) -> Proposal:
    """Cluster the taus of a version on a Ray actor; the proposal is in the store, not yet part of a version."""
    stream = Stream.open(url)
    work = actors.events(actors.Consolidator, "propose", url, version, resources=stream.config.resources)
    (proposal,) = work
    return proposal


@task(name="gate", **heavy)
def gate(url: str, proposal: Proposal) -> list[str]:
    """Measure the proposal; what is returned are the reasons to refuse it, none when it may become the head."""
    stream = Stream.open(url)
    measure(stream, proposal.entries, again=False)
    return summary.reasons_to_refuse(stream, proposal)


@task(name="commit consolidation", **quick)
def commit_consolidation(url: str, proposal: Proposal) -> int:
    """Make the proposal the head; raises AlreadyExists when another version came first."""
    version = Stream.open(url).commit_consolidation(proposal)
    get_run_logger().info("consolidation committed as version %d: %s", version.number, version.message)
    return version.number


@task(name="set aside", **quick)
def set_aside(url: str, proposal: Proposal, reasons: list[str]) -> None:
    """Keep a refused proposal with its reasons; the head stays as it is."""
    place = Stream.open(url).set_aside(proposal, reasons)
    log = get_run_logger()
    for reason in reasons:
        log.error("consolidation refused: %s", reason)
    log.error("the head stays; the refused proposal is kept in %s", place)


@task(name="forget task", **quick)
def forget_task(url: str, name: str) -> Version:
    """A version without the task; the store checks that every other record is untouched."""
    version = Stream.open(url).commit_forget(name)
    get_run_logger().info("forgot %s in version %d: %s", name, version.number, version.message)
    return version


@task(name="publish report", **quick)
def publish_report(url: str, version: int | None) -> str:
    """Write the HTML report of a version into the store, and its tables as Prefect artifacts; returns the report's URL."""
    stream = Stream.open(url)
    content = summary.report(stream, stream.head() if version is None else stream.version(version))
    place = stream.save_report(content.version, render_page(content))
    create_markdown_artifact(markdown_tables(content), key=artifact_key("stream", stream.name), description=place)
    get_run_logger().info("report of version %d: %s", content.version, place)
    return place
