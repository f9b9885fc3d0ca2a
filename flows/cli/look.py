"""Commands that only look: tasks, status, log."""

from typing import Annotated, Any

import typer

from flows.cli.app import LOOK, JsonOption, StreamOption, VersionOption, app, print_columns, show


@app.command(rich_help_panel=LOOK)
def tasks(stream: StreamOption, version: VersionOption = None, as_json: JsonOption = False) -> None:
    """List what was learned, what waits, what was rejected or undone; with --version, what was learned by then."""
    from apd import overview
    from apd.report.formats import percent, size
    from apd.store import Stream

    opened = Stream.open(stream)
    if version is None:
        rows = overview.tasks(opened, opened.head()) + overview.arrivals(opened)
    else:
        rows = overview.tasks(opened, opened.version(version))
    if as_json:
        show(rows)
        return
    if not rows:
        typer.echo("no tasks yet; `apd pack` makes one of your data, `apd submit` puts it into the inbox")
        return
    heading = ("task", "state", "accuracy", "stored", "")
    lines = [
        (
            row["task"],
            row["state"],
            percent(row["test_accuracy"]) if row["state"] == "learned" else "",
            size(row["bytes"]) if row["state"] == "learned" else "",
            row["note"],
        )
        for row in rows
    ]
    print_columns([heading, *lines], right=frozenset((2, 3)))


@app.command(rich_help_panel=LOOK)
def status(stream: StreamOption, as_json: JsonOption = False) -> None:
    """The stream in a few lines: version, tasks, accuracy, size, what waits, when consolidation is due."""
    from apd import overview
    from apd.store import Stream

    facts = overview.status(Stream.open(stream))
    if as_json:
        show(facts)
    else:
        print_columns(status_lines(facts))


def status_lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and value of every line, for people."""
    from apd.overview.facts import STATES
    from apd.report.formats import count, moment, percent, size

    settings = facts["settings"]
    shape = "x".join(map(str, settings["input_shape"]))
    there = [f"{facts[state]} {state}" for state in STATES if facts[state]]
    since, every = facts["learned_since_consolidation"], facts["consolidate_every"]
    clusters, failed = settings["learning"]["variant"] == "apd2", facts["consolidation_left_out"]
    left_out = f"; left out until `apd consolidate`: {failed}" if failed else ""
    return [
        ("stream", facts["stream"]),
        ("network", f"{settings['network']['name']}, inputs {shape} {settings['input_dtype']}"),
        ("version", f"{facts['version']} ({facts['kind']}, {moment(facts['created'])})"),
        ("tasks", ", ".join([f"{facts['tasks']} learned", *there])),
        ("average accuracy", percent(facts["average_test_accuracy"])),
        ("stored for tasks alone", f"{size(facts['task_bytes'])}, {count(facts['tau_non_zeros'])} non-zeros of tau"),
        (
            "consolidation",
            f"{'due: ' if facts['consolidation_due'] else ''}{since} of {every} tasks since the last one{left_out}"
            if clusters
            else f"none: the variant is {settings['learning']['variant']}",
        ),
    ]


@app.command(rich_help_panel=LOOK)
def log(
    stream: StreamOption,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many versions.", metavar="COUNT", min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the versions, newest first."""
    from apd.report.formats import moment
    from apd.store import Stream

    versions = list(Stream.open(stream).log(limit=limit))
    if as_json:
        show(
            [
                {
                    "version": version.number,
                    "kind": version.kind,
                    "created": version.created,
                    "tasks": len(version.entries),
                    "message": version.message,
                }
                for version in versions
            ]
        )
        return
    lines = [(str(one.number), moment(one.created), str(len(one.entries)), one.kind, one.message) for one in versions]
    print_columns([("version", "created", "tasks", "kind", ""), *lines], right=frozenset((0, 2)))
