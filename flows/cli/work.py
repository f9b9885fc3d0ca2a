"""Commands that start flows: run, retry, accept, evaluate, consolidate, forget, report.

Each looks at what it was told before it starts anything: a mistake is answered at once, not after Prefect is up.
"""

import time
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from apd.wording import counted
from flows.cli.app import REFUSED, WORK, JsonOption, StreamOption, VersionOption, app, print_columns, show

if TYPE_CHECKING:
    from apd.store import Stream

REFUSAL = "refused: the head stays"

LONGEST_PAUSE = 600.0
"""Seconds; a watch that keeps failing looks no more rarely than this."""


@app.command(rich_help_panel=WORK)
def run(
    stream: StreamOption,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Keep running and look into the inbox again and again; --json then prints a line for each run.",
        ),
    ] = False,
    every: Annotated[
        float, typer.Option("--every", help="Seconds between two looks, with --watch.", metavar="SECONDS", min=0.1)
    ] = 10.0,
    max_parallel: Annotated[
        int | None, typer.Option("--max-parallel", help="Tasks that train at the same time.", min=1, metavar="N")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Actors that train one task together.", min=1, metavar="N")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Ingest and learn everything that waits, consolidate when it is due, write the report; then stop."""
    from apd.store import Stream
    from flows import console

    opened = Stream.open(stream)
    console.prepare()
    asked = Asked(max_parallel, workers)
    if watch:
        watch_inbox(opened, every, asked, as_json)
    elif not learn_what_waits(opened, asked, as_json):
        raise typer.Exit(REFUSED)


class Asked(NamedTuple):
    """Of this run, instead of what the stream's resources say; None: what they say."""

    max_parallel: int | None = None
    workers: int | None = None


PLAIN = Asked()


def learn_what_waits(stream: "Stream", asked: Asked = PLAIN, as_json: bool = False, in_a_line: bool = False) -> bool:
    """One run of the flow, and what came of it; False when a task was refused."""
    from flows.run import run as flow

    before, rejected_before = {one.task for one in stream.inbox.refused()}, stream.inbox.rejected_folders()
    learned = flow(stream.url, max_parallel=asked.max_parallel, workers=asked.workers)
    refused = [one.task for one in stream.inbox.refused() if one.task not in before]
    rejected = [folder for folder in stream.inbox.rejected_folders() if folder not in rejected_before]
    if as_json:
        head = stream.head().number
        show({"learned": learned, "refused": refused, "rejected": rejected, "version": head}, in_a_line)
        return not refused
    if learned:
        typer.echo(f"version {stream.head().number}: learned {', '.join(learned)}")
    if rejected:
        typer.echo(f"rejected {', '.join(rejected)}; `apd tasks` says why")
    if not (learned or refused or rejected):
        typer.echo("nothing was waiting")
    return not refused


def watch_inbox(stream: "Stream", every: float, asked: Asked = PLAIN, as_json: bool = False) -> None:
    """Run the flow whenever something waits, for ever; after a failure, look again after twice the pause."""
    from apd import overview
    from apd.errors import ApdError
    from flows.console import server_needed

    pause = every
    while True:
        try:
            if stream.inbox.complete() or overview.learnable(stream):
                with server_needed():
                    learn_what_waits(stream, asked, as_json, in_a_line=True)
            pause = every
        except ApdError as error:
            pause = min(2 * pause, max(every, LONGEST_PAUSE))
            typer.echo(f"{type(error).__name__}: {error}\nlooking again in {pause:g} s", err=True)
        time.sleep(pause)


@app.command(rich_help_panel=WORK)
def retry(
    task: Annotated[str, typer.Argument(help="Name of a task that failed or was refused.", metavar="TASK")],
    stream: StreamOption,
) -> None:
    """Let the next run try a task again that failed too often or was refused; `apd tasks` names those left out."""
    from apd.errors import UnknownTask
    from apd.store import Stream
    from apd.store.failures import Failures

    opened = Stream.open(stream)
    if opened.refusals.task(task):
        opened.refusals.withdraw(task)
    elif task not in [one.task for one in opened.inbox.waiting()]:
        raise UnknownTask(f"no task {task!r} waits in {opened.url}; `apd tasks` lists those that do")
    Failures(opened.objects).clear(task)
    typer.echo(f"the next run tries {task} again")


@app.command(rich_help_panel=WORK)
def accept(
    task: Annotated[str, typer.Argument(help="Name of a refused task.", metavar="TASK")],
    stream: StreamOption,
    as_json: JsonOption = False,
) -> None:
    """Learn a refused task anyway, from what was trained; `apd tasks` lists those that were refused, and why."""
    from apd.errors import UnknownTask
    from apd.store import Stream
    from flows import console

    opened = Stream.open(stream)
    if opened.refusals.task(task) is None:
        raise UnknownTask(f"no task {task!r} was refused in {opened.url}; `apd tasks` lists those that were")
    console.prepare()
    from flows.learn import learn as flow

    version = flow(stream, task, if_refused="accept")
    show({"learned": [task], "version": version}) if as_json else typer.echo(f"version {version}: learned {task}")


@app.command(rich_help_panel=WORK)
def evaluate(
    stream: StreamOption,
    version: VersionOption = None,
    again: Annotated[bool, typer.Option("--again", help="Measure every task anew, changed or not.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure every task whose parameters changed since it was last measured; show the accuracy of all."""
    from apd import overview
    from apd.report.formats import percent
    from apd.store import Stream
    from flows import console

    opened = Stream.open(stream)
    chosen = opened.head() if version is None else opened.version(version)
    console.prepare()
    from flows.evaluate import evaluate as flow

    flow(stream, chosen.number, again)
    rows = overview.accuracies(opened, chosen)
    if as_json:
        show(rows)
        return
    lines = [(row["task"], percent(row["test_accuracy"]), percent(row["when_learned"])) for row in rows]
    print_columns([("task", "accuracy", "when learned"), *lines], right=frozenset((1, 2)))


@app.command(rich_help_panel=WORK)
def consolidate(
    stream: StreamOption,
    only_if_due: Annotated[bool, typer.Option("--only-if-due", help="Do nothing before its time has come.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Cluster the taus of all tasks into locally shared parameters, if no task loses more than the stream allows."""
    from apd.errors import StateError
    from apd.overview import is_due
    from apd.store import Stream
    from flows import console

    opened = Stream.open(stream)
    if not opened.head().entries:
        raise StateError(f"{opened.url} has no learned task: there is nothing to consolidate")
    version, outcome = None, "nothing is due"
    if not only_if_due or is_due(opened):
        console.prepare()
        from flows.consolidate import consolidate as flow

        version = flow(stream, only_if_due=only_if_due)
        if version is not None:
            outcome = "consolidated"
        elif opened.refusals.consolidations(opened.head().number):
            outcome = REFUSAL
    show({"version": version, "outcome": outcome}) if as_json else typer.echo(
        outcome if version is None else f"version {version}: {opened.version(version).message}"
    )
    if outcome == REFUSAL:
        raise typer.Exit(REFUSED)


@app.command(rich_help_panel=WORK)
def forget(
    task: Annotated[str, typer.Argument(help="Name of the task.", metavar="TASK")],
    stream: StreamOption,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove a task's parameters and data from every version; every other task stays bit-identical (checked).

    Also a task that waits, that was refused, or that a rollback set aside.
    """
    from apd.store import Stream
    from flows import console

    opened = Stream.open(stream)
    if not opened.is_forgotten(task) and not yes:
        typer.confirm(f"Remove {task} for good, its data and its parameters in every version?", abort=True)
    console.prepare()
    from flows.forget import forget as flow

    version = opened.version(flow(stream, task))
    unchanged = counted(version.details["unchanged"], "other task")
    show({"version": version.number, **version.details}) if as_json else typer.echo(
        f"version {version.number}: {version.message}, {unchanged} unchanged"
    )


@app.command(rich_help_panel=WORK)
def report(
    stream: StreamOption,
    version: VersionOption = None,
    benchmark: Annotated[
        str | None,
        typer.Option(help="Results of `apd benchmark` on the same tasks, for other orders of arrival.", metavar="URL"),
    ] = None,
) -> None:
    """Write the HTML report of a version into the stream; print where it is."""
    from apd.store import Stream
    from flows import console

    opened = Stream.open(stream)
    chosen = opened.head() if version is None else opened.version(version)
    console.prepare()
    from flows.report import report as flow

    typer.echo(flow(stream, chosen.number, benchmark))
