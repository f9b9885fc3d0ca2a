"""The steps that flows are made of: functions of `apd` as Prefect tasks.

Here is the policy of retries, timeouts and caching; `gates` and `cells` make their steps by it. Two kinds of trouble
pass by themselves and are tried again: storage that cannot be reached for a while, and a Ray worker that was lost,
until its node is back. Everything else is raised at once. Nothing is cached: every step is idempotent through the
store, which knows better than a hash of inputs what was done.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any, ParamSpec, TypeVar, cast

import httpx
from prefect import get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.tasks import Task

from apd import actors, overview
from apd.actors import metrics
from apd.benchmark import method_like, other_orders, other_settings
from apd.config import ResourceConfig
from apd.data import advice, validate_task
from apd.errors import ApdError, ClusterError, NoNode, NotFound, StateError, TaskRejected, Unreachable, WorkerLost
from apd.overview.facts import LINK
from apd.report.page import html
from apd.store import Candidate, Proposal, Stream, TaskEntry, Version
from apd.store.attempts import SHARED
from apd.store.failures import CONSOLIDATION, LIMIT, Failures
from apd.store.results import Results
from apd.training import Progress
from flows import dashboards, events

P = ParamSpec("P")
R = TypeVar("R")
SHARE = 8
"""Tasks that one evaluating actor measures at least, where there are so many: it takes some 3 s to start."""

HOUR = 3600.0
"""Seconds; a step that only talks to storage and Prefect, and takes longer, hangs."""

PASSING = (Unreachable, WorkerLost, NoNode, ConnectionError, TimeoutError, httpx.TransportError)
OUTSIDE = (*PASSING, ClusterError)
"""What is no fault of a task's."""


def first_done(submitted: Collection[PrefectFuture[R]]) -> PrefectFuture[R]:
    """Wait, as `apd.actors.first_done` does, for one of these submitted steps; returns the first of those done."""
    waited = {cast(PrefectConcurrentFuture[R], one).wrapped_future: one for one in submitted}
    done = actors.first_done(waited)
    return next(one for future, one in waited.items() if future in done)


def passes(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a failure may pass by itself, so that trying again makes sense."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, PASSING)


def step(
    name: str, retries: int = 3, delay: float = 2, timeout: float | None = HOUR
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A Prefect task, tried again after trouble that passes: `delay` seconds later, then 2, 4, ... times that.

    timeout: seconds after which a try counts as such trouble; None where the work takes as long as its data is large.
    """
    return task(
        name=name,
        cache_policy=NO_CACHE,
        retries=retries,
        retry_delay_seconds=[delay * 2**number for number in range(retries)],
        retry_jitter_factor=0.5,
        retry_condition_fn=passes,
        timeout_seconds=timeout,
    )


@step("find stream")
def no_stream(url: str) -> str | None:
    """What to do where a deployment came before its stream; None when there is one.

    Raises NotFound outside a deployment, and where this server has shown the stream before: that one was lost.
    """
    try:
        Stream.open(url)
    except NotFound:
        if runtime.deployment.id is None or dashboards.has_page(url):
            raise
        return f"there is no stream in {url} yet; for example: apd init {url} --shape 3x32x32"
    return None


@step("find arrivals", timeout=None)
def find_arrivals(url: str) -> list[str]:
    """Validate every complete folder of the inbox: accept it in arrival order, or reject it with the reason.

    A folder that can be neither, and that no other run has dealt with, stays for the next run.
    """
    log, stream = get_run_logger(), Stream.open(url)
    accepted = []
    for folder in stream.inbox.complete():
        try:
            accepted += _take_in(stream, folder)
        except PASSING:
            raise
        except ApdError as error:
            if stream.inbox.is_complete(folder):
                log.error("%s stays in the inbox, it can be neither accepted nor rejected: %s", folder, error)
    for folder in stream.inbox.incomplete():
        log.info("waiting for %s: its task.json is not there yet", folder)
    for key in stream.inbox.misnamed():
        log.warning("nobody looks at %r: no task folder or file can have that name", key)
    for key in stream.inbox.links():
        log.warning("nobody looks at %r: %s", key, LINK)
    return accepted


def _take_in(stream: Stream, folder: str) -> list[str]:
    """The name of the task that the folder became; nothing when it was rejected, or another run deals with it."""
    log = get_run_logger()
    try:
        info = validate_task(stream.inbox.folder(folder), stream.config)
        odd = advice(stream.inbox.folder(folder), info)
        number = stream.inbox.accept(folder, info)
    except TaskRejected as reason:
        if stream.inbox.is_complete(folder):
            stream.inbox.reject(folder, str(reason))
            log.warning("rejected %s: %s", folder, reason)
        return []
    log.info("accepted %s as arrival %d: %d classes", info.name, number, len(info.classes))
    if odd:
        log.warning("%s: %s", info.name, odd)
    return [info.name]


@step("list waiting")
def list_waiting(url: str) -> list[str]:
    """Names of the accepted tasks that no version has yet, in arrival order, without those that failed too often."""
    log, stream = get_run_logger(), Stream.open(url)
    for name, reason in overview.left_out(stream).items():
        log.warning("%s is left out, it failed too often; `apd retry %s` tries again: %s", name, name, reason)
    reason_to_wait = overview.consolidation_left_out(stream)
    if reason_to_wait:
        log.warning("consolidation is left out, it failed too often; `apd consolidate` tries again: %s", reason_to_wait)
    return overview.learnable(stream)


@step("check cluster", retries=0)
def check_cluster(url: str, workers: int | None = None) -> None:
    """Refuse at once a cluster on which this stream's actors could never start; a node lost later may come back."""
    wanted = resources(Stream.open(url), workers)
    actors.check_resources(wanted, wanted.workers)


def resources(stream: Stream, workers: int | None) -> ResourceConfig:
    """What the stream's actors ask for; so many workers for one task, where that is given."""
    asked = stream.config.resources
    return asked if workers is None else dataclasses.replace(asked, workers=workers)


@step("decide base")
def decide_base(url: str, name: str) -> int | None:
    """Number of the version the task is trained on: the head, unless an interrupted run decided it before.

    None where no task has arrived under that name, or it was forgotten.
    """
    stream = Stream.open(url)
    return stream.begin_attempt(name, stream.head().number) if stream.inbox.has_claim(name) else None


@step("train", retries=4, delay=5, timeout=None)
def train(url: str, name: str, base: int, workers: int | None = None) -> Candidate | None:
    """Train a task on Ray; None when the head has it. Every epoch goes to the log and the progress bar.

    What an earlier run trained on this base, and died before it could commit it, is not trained again. workers: actors
    that train it together; None: what the stream's resources say.
    """
    stream = Stream.open(url)
    if stream.head().has(name):
        return None
    trained, arrival = stream.load_candidate(name), stream.inbox.registration(name).number
    if trained is not None and (trained.base, trained.arrival) == (base, arrival):
        get_run_logger().info("%s is trained already; only its commit is missing", name)
        return trained
    metrics.waiting(stream.url, len(stream.inbox.waiting()))
    work = actors.learning(stream.url, name, base, resources(stream, workers))
    with contextlib.closing(work):
        return _watch(work, stream, name)


def _watch(work: Iterator[Progress | Candidate], stream: Stream, name: str) -> Candidate | None:
    log, shown = get_run_logger(), 0.0
    bar = dashboards.progress_bar(stream, name)
    for event in work:
        if isinstance(event, Candidate):
            return event
        now = time.monotonic()
        if now - shown < 1 and event.epoch < event.epochs:
            continue
        shown = now
        bar(100 * event.epoch / event.epochs)
        log.info(
            "%s: epoch %d/%d  loss %.3f  validation accuracy %.1f %%  tau %.2f %% of P",
            *(name, event.epoch, event.epochs, event.loss, 100 * event.validation_accuracy, 100 * event.tau_density),
        )
    raise StateError(f"the training of {name} ended without a result")


@step("note failure")
def note_failure(url: str, name: str, reason: str) -> bool:
    """Count a training, or consolidation, that failed by itself; after LIMIT of them no run tries it unasked.

    False, and nothing is counted, where the task was forgotten meanwhile.
    """
    stream = Stream.open(url)
    if not name.startswith(SHARED) and not stream.inbox.has_claim(name):
        return False
    count = Failures(stream.objects).add(name, reason)
    after = "it is left out from now on" if count >= LIMIT else "the next run tries again"
    get_run_logger().error("%s has failed %d of %d times: %s", name.removeprefix(SHARED), count, LIMIT, after)
    return True


@step("commit")
def commit(url: str, candidate: Candidate) -> int:
    """Make the candidate part of a new version; a lost race is re-based, the same candidate twice is one version."""
    stream, started = Stream.open(url), time.monotonic()
    version = stream.commit_candidate(candidate)
    metrics.committed(stream.url, "learn", time.monotonic() - started)
    stream.clear_attempt(candidate.task)
    metrics.waiting(stream.url, len(stream.inbox.waiting()))
    get_run_logger().info("committed %s as version %d", candidate.task, version.number)
    accuracy = candidate.entry.test_accuracy
    events.tell(events.LEARNED, url, task=candidate.task, version=version.number, accuracy=accuracy)
    return version.number


@step("announce when due")
def announce_when_due(url: str) -> None:
    """Tell Prefect when a consolidation is due that has not failed too often: an automation starts it."""
    if overview.consolidation_waits(Stream.open(url)):
        events.tell(events.DUE, url)


@step("evaluate", retries=4, delay=5, timeout=None)
def evaluate(url: str, version: int | None, again: bool, task: str | None = None) -> list[actors.Evaluation]:
    """Measure the tasks, or this one, whose parameters have not been measured before (`again`: all), on Ray actors."""
    stream = Stream.open(url)
    measured = stream.head() if version is None else stream.version(version)
    if task is not None:
        return measure(stream, (measured.entry(task),), again)
    gone = _forgotten_since(stream, measured)
    return measure(stream, tuple(entry for entry in measured.entries if entry.name not in gone), again)


def _forgotten_since(stream: Stream, version: Version) -> tuple[str, ...]:
    """Names of the tasks that are left out of what is done with the version."""
    gone = stream.forgotten_since(version)
    if gone:
        get_run_logger().warning("left out, forgotten since version %d: %s", version.number, ", ".join(gone))
    return gone


def measure(stream: Stream, entries: tuple[TaskEntry, ...], again: bool) -> list[actors.Evaluation]:
    """Evaluations of these states, by as many actors as there is room for.

    One that was measured keeps its record: it is kept under its theta key, the digest of all that it predicts with.
    """
    log = get_run_logger()
    known = {} if again else stream.evaluations.get_all(entry.theta_key for entry in entries)
    todo = [entry for entry in entries if known.get(entry.theta_key) is None]
    log.info("evaluating %d of %d tasks; the others have not changed", len(todo), len(entries))
    if not todo:
        return []
    results = []
    most = -(-len(todo) // SHARE)
    with actors.crew(actors.Evaluator, stream.url, stream.config.resources, most) as work:
        for result in work.each("evaluate", todo):
            log.info("%s: test accuracy %.1f %%", result.task, 100 * result.test_accuracy)
            results.append(result)
    return results


@step("cluster", retries=4, delay=5, timeout=None)
def cluster(url: str, version: int, tolerance: float) -> Proposal:
    """Cluster the taus of a version on Ray actors; the proposal is in the store, not yet part of a version."""
    return actors.propose(Stream.open(url), version, tolerance)


@step("refit", retries=4, delay=5, timeout=None)
def refit(url: str, version: int) -> Proposal:
    """Learn sigma again from the tasks of a version together, and each anew, on Ray actors; a proposal as above."""
    return actors.propose_refit(Stream.open(url), version, get_run_logger().info)


@step("commit consolidation")
def commit_consolidation(url: str, proposal: Proposal) -> int:
    """Make the proposal the head; raises AlreadyExists when another version came first."""
    stream, started = Stream.open(url), time.monotonic()
    version = stream.commit_consolidation(proposal)
    metrics.committed(stream.url, "consolidate", time.monotonic() - started)
    Failures(stream.objects).clear(CONSOLIDATION)
    get_run_logger().info("consolidation committed as version %d: %s", version.number, version.message)
    events.tell(events.COMMITTED, url, version=version.number)
    return version.number


@step("forget task")
def forget_task(url: str, name: str) -> Version:
    """A version without the task; the store checks that every other record is untouched."""
    version = Stream.open(url).commit_forget(name)
    get_run_logger().info("forgot %s: version %d", name, version.number)
    return version


@step("show version", retries=6, delay=5)
def show_version(url: str, version: int) -> None:
    """Accuracy, capacity and drift of a version in the UI."""
    stream = Stream.open(url)
    dashboards.show_accuracy(stream, stream.version(version))
    dashboards.show_capacity(stream, overview.growth(stream, stream.version(version)))


@step("publish report", retries=6, delay=5)
def publish_report(url: str, version: int | None, benchmark: str | None = None) -> str:
    """Write the HTML report of a version into the store, tables and the stream's page into Prefect; returns its URL.

    benchmark: where the same tasks were learned in other orders.
    """
    stream = Stream.open(url)
    shown = stream.head() if version is None else stream.version(version)
    _forgotten_since(stream, shown)
    content = overview.build_report(stream, shown)
    if benchmark:
        place, tasks = Results(benchmark), [task.name for task in content.tasks]
        method = method_like(place, stream.config.learning)
        content = dataclasses.replace(content, orders=other_orders(place, method, tasks))
        if other := other_settings(place, method, stream.config):
            get_run_logger().warning("other orders were measured with other settings: %s", "; ".join(other))
    where = stream.save_report(content.version, html(content))
    dashboards.show_report(stream, shown, content, where)
    get_run_logger().info("report of version %d: %s", content.version, where)
    return where
