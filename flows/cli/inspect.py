"""Commands that only look: tasks, status, log."""

from typing import Annotated

import typer

from flows.cli.app import JsonOption, StreamOption, VersionOption, app, show


@app.command(rich_help_panel="Look")
def tasks(stream: StreamOption, version: VersionOption = None, as_json: JsonOption = False) -> None:
    """List what was learned, what waits and what was rejected."""
    from apd import overview
    from apd.store import Stream

    opened = Stream.open(stream)
    rows = overview.tasks(opened, opened.head() if version is None else opened.version(version))
    if as_json:
        show(rows)
        return
    for row in rows:
        accuracy = "" if row["test_accuracy"] is None else f"{row['test_accuracy']:7.1%}"
        typer.echo(f"{row['task']:32} {row['state']:9} {accuracy:>8}  {row['note']}")


@app.command(rich_help_panel="Look")
def status(stream: StreamOption, as_json: JsonOption = False) -> None:
    """The stream in a few lines: version, tasks, accuracy, size, what waits, when consolidation is due."""
    from apd import overview
    from apd.store import Stream

    facts = overview.status(Stream.open(stream))
    if as_json:
        show(facts)
        return
    for name, value in facts.items():
        typer.echo(f"{name.replace('_', ' '):28} {value}")


@app.command(rich_help_panel="Look")
def log(
    stream: StreamOption,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many versions.", min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the versions, newest first."""
    from apd.store import Stream

    versions = list(Stream.open(stream).log(limit=limit))
    if as_json:
        show(
            [
                {
                    "version": v.number,
                    "kind": v.kind,
                    "created": v.created,
                    "tasks": len(v.entries),
                    "message": v.message,
                }
                for v in versions
            ]
        )
        return
    for version in versions:
        typer.echo(f"{version.number:6}  {version.created[:19]}  {version.kind:12} {version.message}")
