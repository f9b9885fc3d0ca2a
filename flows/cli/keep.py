"""Commands that look after a stream as a whole: diff, checkout, rollback, fork, verify, usage, gc."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from apd.wording import counted
from flows.cli.app import KEEP, JsonOption, StreamOption, VersionOption, app, fail, print_columns, show
from flows.cli.transfer import shown

NumberArgument = Annotated[int, typer.Argument(help="Number of a version.", metavar="VERSION", min=0)]


@app.command(rich_help_panel=KEEP)
def diff(
    before: NumberArgument,
    after: NumberArgument,
    stream: StreamOption,
    as_json: JsonOption = False,
) -> None:
    """Show what changed between two versions, task by task: nothing, sigma, masks, tau, clusters, accuracy."""
    from apd.report.formats import percent
    from apd.store import Stream
    from apd.store.upkeep import compare

    changes = compare(Stream.open(stream), before, after)
    if as_json:
        show([dataclasses.asdict(change) for change in changes])
        return
    rows = [("task", "", "parts", "tau", "accuracy")]
    for change in changes:
        tau = " -> ".join("-" if count is None else f"{count:,}" for count in change.tau_nnz)
        accuracy = " -> ".join(map(percent, change.test_accuracy))
        rows.append((change.task, change.change, ", ".join(change.parts), tau, accuracy))
    print_columns(rows)


@app.command(rich_help_panel=KEEP)
def checkout(
    folder: Annotated[Path, typer.Argument(help="New folder to write into.")],
    stream: StreamOption,
    version: VersionOption = None,
) -> None:
    """Write every task of a version as a plain state dict, with an index of classes, to serve without apd."""
    from apd.serving import checkout as write
    from apd.store import Stream

    opened = Stream.open(stream)
    number = opened.head().number if version is None else version
    typer.echo(f"wrote {counted(write(opened, folder, number), 'task')} to {folder}")
    gone = opened.forgotten_since(opened.version(number))
    if gone:
        typer.echo(f"left out, forgotten since: {', '.join(gone)}")


@app.command(rich_help_panel=KEEP)
def rollback(number: NumberArgument, stream: StreamOption) -> None:
    """Make a new version that equals an old one; the versions between stay in the log."""
    from apd.store import Stream
    from apd.store.upkeep import rollback as back

    opened = Stream.open(stream)
    version = back(opened, number)
    typer.echo(f"version {version.number}: {version.message}")
    without = version.details["without"]
    if without:
        again = "`apd forget` removes one for good, and lets it come again"
        typer.echo(f"without {', '.join(without)}; {again}")


@app.command(rich_help_panel=KEEP)
def fork(
    url: Annotated[str, typer.Argument(help="New folder or s3://bucket/prefix.", metavar="NEW_URL")],
    stream: StreamOption,
    version: VersionOption = None,
) -> None:
    """Begin another stream as a copy of a version; the two go on independently."""
    from apd.store import Stream
    from apd.store.upkeep import fork as begin

    opened = Stream.open(stream)
    number = opened.head().number if version is None else version
    with shown(f"version {number}") as progress:
        forked = begin(opened, number, url, progress=progress)
    typer.echo(f"{forked.url} begins as version {number} of {opened.url}")


@app.command(rich_help_panel=KEEP)
def verify(
    stream: StreamOption,
    data: Annotated[bool, typer.Option(help="Read the tasks' own data, too.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Read everything and check it: every digest, every shape, nothing missing. Exit code 1 when something is wrong."""
    from apd.store import Stream
    from apd.store.upkeep import verify as check

    found = check(Stream.open(stream), data=data)
    if as_json:
        show(dataclasses.asdict(found))
    else:
        typer.echo(
            f"{counted(found.versions, 'version')}, {counted(found.tasks, 'state')} of tasks, "
            f"{counted(found.blobs, 'blob')}, {counted(found.arrivals, 'arrival')}, "
            f"{counted(found.documents, 'document')}; "
            f"{counted(found.unneeded, 'blob')} that no version needs (`apd gc` removes old ones)"
        )
        for problem in found.problems:
            typer.echo(problem, err=True)
    if not found.clean:
        raise fail(counted(len(found.problems), "problem"), 1)
    if not as_json:
        typer.echo("clean")


@app.command(rich_help_panel=KEEP)
def usage(stream: StreamOption, as_json: JsonOption = False) -> None:
    """Show what the stream takes up: per kind of data, per task, and what each version added."""
    from apd.report.formats import size
    from apd.store import Stream
    from apd.store.upkeep import usage as measure

    found = measure(Stream.open(stream))
    if as_json:
        show(dataclasses.asdict(found))
        return
    parts: list[tuple[str, dict[Any, int]]] = [
        ("kind", found.by_kind),
        ("task", found.by_task),
        ("version", found.by_version),
    ]
    for heading, sizes in parts:
        print_columns([(heading, "bytes"), *((str(name), size(count)) for name, count in sizes.items() if count)])
        typer.echo()
    typer.echo(f"in all {size(found.total)}; the newest version needs {size(found.parameters)}")


@app.command(rich_help_panel=KEEP)
def gc(
    stream: StreamOption,
    keep: Annotated[int, typer.Option(help="How many of the newest versions stay whole.", min=1)] = 10,
    grace: Annotated[float, typer.Option(help="Hours for which nothing new or just replaced is touched.", min=0)] = 24,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove; without it, only say what would be.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what no kept version needs. The history stays; without --yes nothing is removed."""
    from apd.report.formats import size
    from apd.store import Stream
    from apd.store.upkeep import collect, plan_collection

    work = collect if yes else plan_collection
    plan = work(Stream.open(stream), keep=keep, grace=grace * 3600)
    if as_json:
        show({"removed": yes, "bytes": plan.bytes, **dataclasses.asdict(plan)})
        return
    verb = "removed" if yes else "would remove"
    blobs, versions = counted(len(plan.blobs), "blob"), counted(len(plan.kept), "version")
    typer.echo(f"{verb} {blobs}, {size(plan.bytes)}; kept whole: {versions}")
