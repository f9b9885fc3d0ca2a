"""What an operator sees of a stream in Prefect's UI: artifacts whose keys stay the same, so that each has a history.

stream-<name>          a page to open first: what waits, headline figures, all tasks
accuracy-<name>        every task: now, when learned, change; new after every learn and consolidate
capacity-<name>        size and drift, version by version
clusters-<name>        per layer, which tasks share what
report-<name>          link to the HTML report
progress-<name>-<task> a bar while a task trains
"""

from collections.abc import Callable, Mapping
from typing import Any, cast
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from apd import overview
from apd.overview.facts import learned_since_consolidation
from apd.report import formats
from apd.report.content import Report
from apd.report.tables import escape, markdown
from apd.store import Stream, Version
from flows.names import artifact_key

Row = dict[str, Any]


def progress_bar(stream: str, task: str) -> Callable[[float], None]:
    """A bar in the UI; the function returned moves it, 0 to 100. A server that is away does not stop the training."""
    key = artifact_key("progress", stream, task)
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


def show_accuracy(stream: Stream, version: Version) -> None:
    """The accuracy table of a version."""
    table = [accuracy_row(row) for row in overview.accuracies(stream, version)]
    what = f"Test accuracy in per cent, version {version.number}; change in percentage points."
    create_table_artifact(table, key=artifact_key("accuracy", stream.name), description=what)


def show_report(stream: Stream, report: Report, place: str) -> None:
    """Everything else about a version, with links to its report."""
    name = stream.name
    create_markdown_artifact(stream_page(stream, report, place), key=artifact_key("stream", name))
    what = "Capacity: non-zeros as a share of one network. Drift: what a consolidation moved a parameter by at most."
    create_table_artifact(capacity_rows(report), key=artifact_key("capacity", name), description=what)
    what = f"Tasks that share parameters, layer by layer, version {report.version}."
    create_table_artifact(cluster_rows(report), key=artifact_key("clusters", name), description=what)
    link = place if "://" in place else f"file://{place}"
    create_link_artifact(link, f"report of version {report.version}", key=artifact_key("report", name))


def accuracy_row(row: Mapping[str, Any]) -> Row:
    """One task: `now`, `when learned`, `change`."""
    now, learned = row["test_accuracy"], row["when_learned"]
    change = None if now is None or learned is None else now - learned
    figures = {"now": formats.hundredths(now), "when learned": formats.hundredths(learned)}
    return {"task": row["task"], **figures, "change": formats.change(change)}


def capacity_rows(report: Report) -> list[Row]:
    """One row per version that changed the model."""
    drift = {one.version: one.largest_move for one in report.consolidations if one.accepted}
    return [
        {
            "version": point.version,
            "made by": point.kind,
            "tasks": point.tasks,
            "capacity": formats.percent(point.paper_capacity),
            "stored": formats.size(point.bytes),
            "drift": formats.magnitude(drift.get(point.version)),
        }
        for point in report.capacity
    ]


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


def stream_page(stream: Stream, report: Report, place: str) -> str:
    """The page an operator opens first: what needs a look, then what there is."""
    learned = learned_since_consolidation(stream, stream.head())
    left = stream.config.consolidation.consolidate_every - learned
    due = "now" if left <= 0 else f"after {left} more task{'s' if left > 1 else ''}"
    lines = [
        f"# {escape(report.stream)}",
        "",
        f"- waiting to be learned: **{len(stream.inbox.waiting())}**",
        f"- next consolidation: {due}",
        f"- report: `{place}`",
        "",
        "",
    ]
    return "\n".join(lines) + markdown(report)
