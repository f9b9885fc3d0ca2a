"""The end of a run in a terminal, and the same as Markdown for places that render it.

Both show one row per task in order of arrival, then the summary: average accuracy, forgetting, capacity, time.
"""

import html
import io
import re
from collections.abc import Iterable, Sequence
from typing import Literal, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from apd.report import formats
from apd.report.content import Report, TaskRow
from apd.report.summary import Average, Summary, summarise

PIPED_WIDTH = 100
"""Columns where the output is no terminal."""

NAME_WIDTH = 12
"""Columns left to the names in the narrowest terminal."""

COLUMNS = (
    ("task", ""),
    ("classes", ""),
    ("when learned", "%"),
    ("now", "%"),
    ("separate", "%"),
    ("fine-tuning", "%"),
    ("tau", "%"),
    ("stored", "kB"),
    ("time", "s"),
)
"""(heading, unit)."""

ACCURACIES = {
    "when learned": "right after learning",
    "now": "now",
    "separate": "of a separate network per task",
    "fine-tuning": "of one network fine-tuned from task to task",
}
"""What the columns of test accuracy are."""


def print_table(report: Report, file: TextIO) -> None:
    """Print tasks and summary: in colour and as wide as the terminal, or as plain text where `file` is none."""
    console = Console(file=file)
    if console.is_terminal:
        _write(report, console)
    else:
        file.write(text(report))


def text(report: Report, width: int = PIPED_WIDTH) -> str:
    """Tasks and summary as plain text, lines at most `width` columns wide."""
    out = io.StringIO()
    _write(report, Console(file=out, width=width, color_system=None))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def markdown(report: Report) -> str:
    """Tasks and summary as GitHub-flavoured Markdown; every name is escaped."""
    summary = summarise(report)
    lines = [f"**{escape(report.stream)}**, version {report.version}, committed {formats.moment(report.created)}", ""]
    lines += [f"- {escape(name)}: {escape(value)}" for name, value in summary_lines(report, summary)]
    if report.tasks:
        heading = [f"{name}, {unit}" if unit else name for name, unit in COLUMNS]
        rows = _measured([heading, *map(_cells, report.tasks), _average_cells(summary)])
        lines += ["", _markdown_row(rows[0]), "|:--|" + "--:|" * (len(rows[0]) - 1)]
        lines += [*map(_markdown_row, rows[1:]), "", _explanation(rows[0])]
    return "\n".join(lines) + "\n"


def _measured(rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The table without columns in which no task has a figure; its first row is the heading, its last the average."""
    columns = (column for column in zip(*rows, strict=True) if {*column[1:-1]} != {formats.MISSING})
    return list(zip(*columns, strict=True))


def _explanation(headings: Sequence[str]) -> str:
    """Of the columns that are there."""
    shown = (text for name, text in ACCURACIES.items() if any(heading.startswith(name) for heading in headings))
    rest = "tau: its non-zeros over the parameters of one network. stored: for this task alone."
    return f"Test accuracy {', '.join(shown)}. {rest}"


def escape(name: str) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no second table cell, one line."""
    marked = re.sub(r"([\\`*_{}\[\]|#~$])", r"\\\1", " ".join(name.split()))
    return html.escape(marked, quote=False)


def summary_lines(report: Report, summary: Summary) -> list[tuple[str, str]]:
    """(name, value) of the headline figures; those that nobody measured are left out."""
    network = f"{report.network}, {formats.count(report.parameters)} shared parameters"
    return [
        ("tasks", f"{summary.tasks} ({network})"),
        *_accuracy_lines(summary),
        *_forgetting_lines(summary),
        *_capacity_lines(report, summary),
        *_time_lines(summary),
    ]


def _accuracy_lines(summary: Summary) -> list[tuple[str, str]]:
    parts = [f"{name} {_average(value, summary.tasks)}" for name, value in summary.averages]
    return [("average accuracy", ", ".join(parts))] if parts else []


def _forgetting_lines(summary: Summary) -> list[tuple[str, str]]:
    lines, lost, orders = [], summary.forgetting, summary.orders
    if lost:
        learning, consolidation = formats.points(lost.everything_else), formats.points(lost.consolidation)
        value = f"{learning} points from learning, {consolidation} from consolidation"
        if summary.fine_tuning_forgetting is not None:
            value += f" (fine-tuning: {formats.points(summary.fine_tuning_forgetting)})"
        lines.append(("forgetting", value))
    if orders:
        spread = f"mean {formats.points(orders.average)}, largest {formats.points(orders.maximum)} points"
        lines.append(("order of arrival", f"a task's accuracy spreads over {orders.count} orders by: {spread}"))
    return lines


def _capacity_lines(report: Report, summary: Summary) -> list[tuple[str, str]]:
    if summary.paper_capacity is None or summary.bytes is None:
        return []
    separate = formats.percent(float(summary.tasks), 0)
    stored = f"{formats.percent(summary.byte_share, 0)} of one network's {formats.size(report.network_bytes)}"
    return [
        (
            "capacity, paper",
            f"{formats.percent(summary.paper_capacity, 0)} of one network (separate networks: {separate})",
        ),
        ("capacity, bytes", f"{formats.size(summary.bytes)} stored, {stored}"),
    ]


def _time_lines(summary: Summary) -> list[tuple[str, str]]:
    if summary.learning_seconds is None:
        return []
    value = f"{formats.duration(summary.learning_seconds)} learning"
    if summary.consolidation_seconds is not None:
        value += f", {formats.duration(summary.consolidation_seconds)} consolidation"
    return [("time", value)]


def _average(average: Average, tasks: int) -> str:
    """`93.1 %`, and over how many tasks where it is not all of them."""
    partly = "" if average.count == tasks else f" ({average.count} of {tasks} tasks)"
    return formats.percent(average.value) + partly


def _write(report: Report, console: Console) -> None:
    summary = summarise(report)
    console.print(Text(f"Stream {report.stream}, version {report.version}", style="bold"))
    if report.tasks:
        console.print()
        console.print(_task_table(report, summary, console.width))
        console.print(Text(_explanation([name for name, _ in COLUMNS]), style="dim"), "")
    lines = Table.grid(padding=(0, 2))
    for name, value in summary_lines(report, summary):
        lines.add_row(Text(name, style="bold"), Text(value))
    console.print(lines)


def _task_table(report: Report, summary: Summary, width: int) -> Table:
    """Numbers are never cut; where `width` is short of columns, the middle of the names is."""
    rows = [*map(_cells, report.tasks), _average_cells(summary)]
    headings = [[*name.replace("-", "- ").split(), unit] for name, unit in COLUMNS]
    widths = [max(map(len, (*words, *cells))) for words, cells in zip(headings, zip(*rows, strict=True), strict=True)]
    room = width - sum(widths[1:]) - 2 * (len(widths) - 1)
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, show_edge=False, pad_edge=False, collapse_padding=True)
    for place, words in enumerate(headings):
        justify: Literal["left", "right"] = "right" if place else "left"
        table.add_column("\n".join(words), rows[-1][place], justify=justify, vertical="bottom", no_wrap=True)
    for name, *numbers in rows[:-1]:
        table.add_row(Text(formats.shortened(name, max(room, NAME_WIDTH))), *numbers)
    return table


def _cells(task: TaskRow) -> tuple[str, ...]:
    accuracies = (task.accuracy_when_learned, task.accuracy_now, task.separate, task.fine_tuning)
    return (
        task.name,
        str(len(task.classes)),
        *(formats.hundredths(accuracy) for accuracy in accuracies),
        formats.hundredths(task.tau_density, 2),
        formats.decimal(task.bytes / 1000),
        formats.decimal(task.seconds),
    )


def _average_cells(summary: Summary) -> tuple[str, ...]:
    averages = (summary.when_learned, summary.now, summary.separate, summary.fine_tuning)
    return (
        "average",
        "",
        *(formats.hundredths(average.value if average else None) for average in averages),
        "",
        "",
        "",
    )


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(map(escape, cells)) + " |"
