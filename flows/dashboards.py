"""What an operator sees of a stream in Prefect's UI: artifacts whose keys stay the same, so that each has a history.

stream-<stream>          a page to open first: what waits, what needs a decision, headline figures, all tasks
accuracy-<stream>        every task: now, when learned, change; new after every learn and consolidate
capacity-<stream>        size and drift, version by version; new after every learn and consolidate
clusters-<stream>        per layer, which tasks share what
report-<stream>          link to the HTML report
refused-<stream>         what a gate kept out last, and why
progress-<stream>-<task> a bar while a task trains

<stream> is its name, of which a bucket's has all parts, and what keeps it apart from others of that name; see
`flows.names`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

import httpx
from prefect import get_client, get_run_logger
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from apd import overview
from apd.overview.facts import learned_since_consolidation
from apd.report import formats
from apd.report.content import CapacityPoint, ConsolidationRow, Report
from apd.report.tables import escape, markdown
from apd.store import Candidate, RefusedConsolidation, Stream, Version
from apd.wording import counted
from flows.names import artifact_key, distinct, stream_key

Row = dict[str, Any]

NEWEST = 100
"""Rows of the table of versions, which the server keeps of every arrival."""


def progress_bar(stream: Stream, task: str) -> Callable[[float], None]:
    """A bar in the UI; the function returned moves it, 0 to 100. A server that is away does not stop the training."""
    key = artifact_key("progress", stream_key(stream.url), distinct(task))
    try:
        bar = cast(UUID, create_progress_artifact(0.0, key=key, description=f"training {escape(task)}"))
    except httpx.HTTPError as error:
        get_run_logger().warning("no progress bar: the Prefect API is away (%s)", error)
        return lambda percent: None

    def move(percent: float) -> None:
        try:
            update_progress_artifact(bar, progress=percent)
        except httpx.HTTPError as error:
            get_run_logger().warning("the progress bar stands still: the Prefect API is away (%s)", error)

    return move


def has_page(url: str) -> bool:
    """Whether the server has shown the stream's page."""
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[artifact_key("stream", stream_key(url))]))
    with get_client(sync_client=True) as client:
        return bool(client.read_artifacts(artifact_filter=wanted, limit=1))


def show_accuracy(stream: Stream, version: Version) -> None:
    """The accuracy table of a version."""
    table = [accuracy_row(row) for row in overview.accuracies(stream, version)]
    what = f"Test accuracy in per cent, version {version.number}; change in percentage points."
    create_table_artifact(table, key=artifact_key("accuracy", stream_key(stream.url)), description=what)


def show_capacity(stream: Stream, growth: overview.Growth) -> None:
    """The table of capacity and drift."""
    rows = capacity_rows(growth)
    shown, what = rows[:NEWEST], capacity_note(len(rows))
    create_table_artifact(shown, key=artifact_key("capacity", stream_key(stream.url)), description=what)


def show_report(stream: Stream, version: Version, report: Report, place: str) -> None:
    """Everything about a version, with links to its report."""
    key = stream_key(stream.url)
    page, what = stream_page(stream, report, place), headline(stream, report)
    create_markdown_artifact(page, key=artifact_key("stream", key), description=what)
    show_accuracy(stream, version)
    show_capacity(stream, overview.Growth(report.capacity, report.consolidations))
    create_table_artifact(cluster_rows(report), key=artifact_key("clusters", key), description=sharing(report))
    link = place if "://" in place else f"file://{place}"
    text = f"report of version {report.version}"
    create_link_artifact(link, text, key=artifact_key("report", key), description=f"HTML {text}.")


def accuracy_row(row: Mapping[str, Any]) -> Row:
    """One task: `now`, `when learned`, `change`."""
    now, learned = row["test_accuracy"], row["when_learned"]
    change = None if now is None or learned is None else now - learned
    figures = {"now": formats.hundredths(now), "when learned": formats.hundredths(learned)}
    return {"task": row["task"], **figures, "change": formats.change(change)}


def capacity_rows(growth: overview.Growth) -> list[Row]:
    """One row per version that changed the model, the newest first."""
    made = {one.version: one for one in growth.consolidations if one.accepted}
    before = [None, *(point.paper_capacity for point in growth.capacity)]
    pairs = zip(before, growth.capacity, strict=False)
    return [_capacity_row(point, last, made.get(point.version)) for last, point in pairs][::-1]


def capacity_note(versions: int) -> str:
    """What the columns are, and which rows."""
    cut = f" The newest {NEWEST} of {versions:,} versions; the report draws all." if versions > NEWEST else ""
    return (
        "Capacity: non-zeros as a share of one network. Change: against the version before. Drift: what a "
        f"consolidation moved a parameter by at most. Refit: one that learned sigma again.{cut}"
    )


def _capacity_row(point: CapacityPoint, last: float | None, made: ConsolidationRow | None) -> Row:
    """last: the capacity of the version before. made: the consolidation that made this one, if one did."""
    return {
        "version": point.version,
        "made by": "refit" if made and made.refit else point.kind,
        "tasks": point.tasks,
        "capacity": formats.percent(point.paper_capacity),
        "change": formats.change(None if last is None else point.paper_capacity - last),
        "stored": formats.size(point.bytes),
        "drift": formats.magnitude(made.largest_move if made else None),
    }


def cluster_rows(report: Report) -> list[Row]:
    """One row per cluster of a layer; a layer without clusters has one that says so."""
    rows = []
    for layer in report.layers:
        rows += [
            {
                "layer": layer.name,
                "cluster": cluster.index,
                "tasks": ", ".join(cluster.members),
                "shared elements": formats.count(cluster.shared_elements),
                "largest move": formats.magnitude(cluster.largest_move),
            }
            for cluster in layer.clusters
        ] or [{"layer": layer.name, "cluster": "none", "tasks": "", "shared elements": "", "largest move": ""}]
    return rows


def sharing(report: Report) -> str:
    """What the table of clusters shows, in one line."""
    if any(layer.clusters for layer in report.layers):
        return f"Tasks that share parameters, layer by layer, version {report.version}."
    return f"Version {report.version} has no clusters: beside sigma, no tasks share parameters."


def headline(stream: Stream, report: Report) -> str:
    """The stream in one line."""
    facts = overview.status(stream)
    states = [f"{facts[state]} {state}" for state in ("waiting", "refused", "rejected") if facts[state]]
    accuracy = f"{formats.percent(facts['average_test_accuracy'])} on average"
    return f"Version {report.version}: {', '.join([counted(len(report.tasks), 'task'), accuracy, *states])}."


def stream_page(stream: Stream, report: Report, place: str) -> str:
    """The page an operator opens first: what needs a look, then what there is."""
    lines = [f"# {escape(report.stream)}", "", *_to_do(stream), *_links(stream, report, place), "", ""]
    return "\n".join(lines) + markdown(report)


def _to_do(stream: Stream) -> list[str]:
    aside = [row for row in overview.arrivals(stream) if row["state"] in ("refused", "rejected")]
    failed = overview.left_out(stream).items()
    return [
        f"- waiting to be learned: **{len(stream.inbox.waiting())}**",
        *(
            f"- **left out**: {escape(task)}: {escape(why)}; `apd retry {task}` lets it try again"
            for task, why in failed
        ),
        *(_aside(stream, row) for row in aside),
        f"- next consolidation: {_next_consolidation(stream)}",
    ]


def _aside(stream: Stream, row: Mapping[str, Any]) -> str:
    """A task that was refused, with a link to what can be done, or one that was rejected."""
    reasons = "; ".join(reason.removeprefix(f"{row['task']} ") for reason in row["note"].split("; "))
    advice = (
        f" ([how to go on](../key/{artifact_key('refused', stream_key(stream.url))}))"
        if row["state"] == "refused"
        else ""
    )
    return f"- **{row['state']}**: {escape(row['task'])}: {escape(reasons)}{advice}"


def _next_consolidation(stream: Stream) -> str:
    """When it comes, and what it is when it does not look for clusters."""
    if stream.config.learning.variant != "apd2":
        return "never"
    failed = overview.consolidation_left_out(stream)
    if failed:
        return f"**left out**, it failed too often: {escape(failed)}; `apd consolidate` tries again"
    head = stream.head()
    left = stream.config.consolidation.consolidate_every - learned_since_consolidation(stream, head)
    due = "now" if overview.is_due(stream) else f"after {counted(max(left, 1), 'more task')}"
    again = ", when sigma is learned again from all tasks so far" if overview.refit_is_ahead(stream, head) else ""
    return due + again


def _links(stream: Stream, report: Report, place: str) -> list[str]:
    """The newest of each artifact, and where report and version are."""
    tables = (("accuracy", "accuracy"), ("capacity", "capacity and drift"), ("clusters", "clusters"))
    shown = [f"[{name}](../key/{artifact_key(kind, stream_key(stream.url))})" for kind, name in tables]
    manifest = stream.history.where(report.version)
    return [f"- history: {', '.join(shown)}", f"- report: `{place}`", f"- version {report.version}: `{manifest}`"]


def show_refused_task(stream: Stream, candidate: Candidate, reasons: Sequence[str], place: str) -> None:
    """What a task fell short of, and how to go on."""
    name, entry = escape(candidate.task), candidate.entry
    rows = (
        ("validation accuracy", formats.percent(entry.validation_accuracy)),
        ("always its most frequent class", formats.percent(entry.baseline)),
        ("test accuracy", formats.percent(entry.test_accuracy)),
        ("trained on version", str(candidate.base)),
    )
    lines = [f"# {name} was refused", "", *(f"- {escape(reason)}" for reason in reasons), ""]
    lines += ["| | |", "|:--|--:|", *(f"| {fact} | {value} |" for fact, value in rows), ""]
    lines += [
        "The head stays as it is; other tasks go on being learned. To go on with this one, start `learn/manual` with "
        f"task `{candidate.task}` and *if refused* set to `accept` or `train again`; or `apd accept {candidate.task}`, "
        f"`apd retry {candidate.task}`.",
        "",
        f"Kept in `{place}`.",
    ]
    what = f"{'; '.join(reasons)}."
    create_markdown_artifact("\n".join(lines), key=artifact_key("refused", stream_key(stream.url)), description=what)


def show_refused_consolidation(stream: Stream, refusals: Sequence[RefusedConsolidation]) -> str:
    """What each tolerance would have cost every task; returns where the refusals are kept."""
    base, place = refusals[-1].base, stream.refusals.place(refusals[-1].base)
    tolerances = ["refit" if one.refit else formats.magnitude(one.details["tolerance"]) for one in refusals]
    lines = [f"# Consolidation of version {base} was refused", ""]
    lines += [f"- {escape(reason)}" for reason in refusals[-1].reasons]
    lines += ["", "Validation accuracy in %, as it is and at each tolerance that was tried:", ""]
    lines += ["| task | now | " + " | ".join(tolerances) + " |", "|:--|--:|" + "--:|" * len(tolerances)]
    for task, (now, _) in refusals[-1].accuracies.items():
        after = (formats.hundredths(one.accuracies[task][1]) for one in refusals)
        lines.append(f"| {escape(task)} | {formats.hundredths(now)} | " + " | ".join(after) + " |")
    lines += ["", f"The head stays as it is; the next try comes after the next task. Kept in `{place}`."]
    what = f"Consolidation of version {base}: {'; '.join(refusals[-1].reasons)}."
    create_markdown_artifact("\n".join(lines), key=artifact_key("refused", stream_key(stream.url)), description=what)
    return place
