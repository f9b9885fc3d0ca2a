"""Commands that start flows: run, consolidate, evaluate, forget, report, demo."""

import time
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.app import JsonOption, StreamOption, VersionOption, app, show

TaskArgument = Annotated[str, typer.Argument(help="Name of the task.", metavar="TASK")]


@app.command(rich_help_panel="Work")
def run(
    stream: StreamOption,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep running and look into the inbox again and again.")
    ] = False,
    every: Annotated[float, typer.Option("--every", help="Seconds between two looks, with --watch.", min=0.1)] = 10.0,
) -> None:
    """Ingest and learn everything that waits, consolidate when it is due, write the report; then stop."""
    from flows import console

    console.prepare()
    from apd.store import Stream
    from flows.run import run as flow

    opened = Stream.open(stream)
    while True:
        if not watch or opened.inbox.complete() or opened.inbox.waiting():
            learned = flow(stream)
            typer.echo(f"learned {len(learned)} tasks: {', '.join(learned)}" if learned else "nothing was waiting")
        if not watch:
            return
        time.sleep(every)


@app.command(rich_help_panel="Work")
def consolidate(
    stream: StreamOption,
    only_if_due: Annotated[bool, typer.Option("--only-if-due", help="Do nothing before its time has come.")] = False,
) -> None:
    """Cluster the taus of all tasks into locally shared parameters, if no task loses more than the stream allows."""
    from flows import console

    console.prepare()
    from flows.consolidate import consolidate as flow

    version = flow(stream, only_if_due)
    typer.echo("nothing was due, or it was refused: the head stays" if version is None else f"version {version}")


@app.command(rich_help_panel="Work")
def evaluate(
    stream: StreamOption,
    version: VersionOption = None,
    again: Annotated[bool, typer.Option("--again", help="Measure every task anew, changed or not.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure every task whose parameters changed since it was last measured; show the accuracy of all."""
    from flows import console

    console.prepare()
    from apd import overview
    from apd.store import Stream
    from flows.evaluate import evaluate as flow

    flow(stream, version, again)
    opened = Stream.open(stream)
    rows = overview.accuracies(opened, opened.head() if version is None else opened.version(version))
    if as_json:
        show(rows)
        return
    for row in rows:
        typer.echo(f"{row['task']:32} {row['test_accuracy']:8.1%}   when learned {row['when_learned']:8.1%}")


@app.command(rich_help_panel="Work")
def forget(
    task: TaskArgument,
    stream: StreamOption,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove a task's parameters and data from every version; every other task stays bit-identical (checked)."""
    from flows import console

    if not yes:
        typer.confirm(f"Remove {task} for good, its data and every version of its parameters?", abort=True)
    console.prepare()
    from apd.store import Stream
    from flows.forget import forget as flow

    version = Stream.open(stream).version(flow(stream, task))
    show({"version": version.number, **version.details}) if as_json else typer.echo(
        f"version {version.number}: {version.message}"
    )


@app.command(rich_help_panel="Work")
def report(stream: StreamOption, version: VersionOption = None) -> None:
    """Write the HTML report of a version into the stream; print where it is."""
    from flows import console

    console.prepare()
    from flows.report import report as flow

    typer.echo(flow(stream, version))


@app.command(rich_help_panel="Start")
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder for the stream; made when absent.")] = Path("apd-demo"),
) -> None:
    """Learn 16 tasks of real handwritten digits, one arrival after another, and compare with the usual ways."""
    from flows import console

    console.prepare()
    from flows.demo import demo as start

    start(folder)
