"""The figures of a report that are not matrices. Accuracy axes run from 0 to 100 %, amounts start at zero."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from apd.report import formats, svg
from apd.report.content import Accuracy, LayerRow, Report
from apd.report.heatmaps import number_tasks
from apd.report.summary import CONSOLIDATE, summarise
from apd.wording import counted

ROW = 17
"""Height of one named row while there is room."""
TALLEST = 720
"""Height of the longest list of tasks; with more of them rows get lower, and only some are named."""
LINE = 12
"""Least height between two lines of text."""
NAME = 22
"""Most characters of a task's name beside an axis."""

FIGURE_SPACE = "\u2007"
"""As wide as a digit."""


def accuracy_per_task(report: Report) -> svg.Plot:
    """Every task now, when it was learned, and by the baselines."""
    tasks = report.tasks
    with svg.drawing():
        figure, axes = _task_list(report)
        _marks(axes, [1 / len(task.classes) for task in tasks], "|", svg.MUTED, "guessing", markersize=5)
        _marks(axes, [task.fine_tuning for task in tasks], "x", svg.VERMILION, "fine-tuning", markersize=5)
        _marks(axes, [task.separate for task in tasks], "|", svg.GREEN, "separate network", markersize=11)
        _marks(axes, [task.accuracy_when_learned for task in tasks], "o", svg.BLUE, "when learned", hollow=True)
        _marks(axes, [task.accuracy_now for task in tasks], "o", svg.BLUE, "now", markersize=4)
        _accuracy_axis(axes)
        figure.legend(loc="outside upper left", ncols=3)
        drawn = svg.inline(figure, "accuracy-per-task", _per_task_label(report))
    caption = (
        "Test accuracy of every task. A ring around its dot: nothing was forgotten. Guessing: one over its classes."
    )
    return svg.Plot("Every task against the baselines", caption, drawn)


def order_robustness(report: Report) -> svg.Plot:
    """Every task's final accuracy over all measured orders of arrival."""
    with svg.drawing():
        figure, axes = _task_list(report)
        columns = zip(*(row.accuracies for row in report.orders), strict=True)
        for place, others in enumerate(columns):
            now = report.tasks[place].accuracy_now
            known = [100 * value for value in (*others, now) if value is not None]
            axes.plot([min(known), max(known)], [place, place], color=svg.MUTED, linewidth=1)
        for row in report.orders:
            _marks(axes, row.accuracies, "o", svg.ORANGE, "other orders", hollow=True, markersize=5)
        _marks(axes, [task.accuracy_now for task in report.tasks], "o", svg.BLUE, "this order", markersize=4)
        _accuracy_axis(axes)
        handles, labels = axes.get_legend_handles_labels()
        shown = dict(zip(labels, handles, strict=True))
        figure.legend(shown.values(), shown.keys(), loc="outside upper left", ncols=2)
        label = (
            f"Final accuracy of {counted(len(report.tasks), 'task')} over {1 + len(report.orders)} orders of arrival."
        )
        drawn = svg.inline(figure, "orders", label)
    return svg.Plot("Does the order of arrival matter?", "Final accuracy per task; a line joins all orders.", drawn)


def capacity(report: Report) -> svg.Plot:
    """Size of the stream while tasks arrived."""
    points, most = report.capacity, max(point.tasks for point in report.capacity)
    paper = [100 * point.paper_capacity for point in points]
    stored = [100 * point.bytes / report.network_bytes for point in points]
    with svg.drawing():
        figure = svg.blank(300)
        axes = figure.subplots()
        axes.plot([0, most], [0, 100 * most], ":", color=svg.MUTED, label="separate networks")
        _growth(axes, report, stored, svg.VERMILION, "--", "bytes in the store")
        _growth(axes, report, paper, svg.BLUE, "-", "capacity as in the paper")
        axes.set(ylim=(0, 1.12 * max(paper + stored)), xlim=(0, most + 0.5))
        axes.set(xlabel="tasks learned", ylabel="of one network")
        axes.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10], integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:,.0f} %"))
        axes.grid(axis="y")
        figure.legend(loc="outside upper left", ncols=2, reverse=True)
        label = f"Lines over {most} tasks, ending at {paper[-1]:.0f} % and {stored[-1]:.0f} % of one network."
        drawn = svg.inline(figure, "capacity", label)
    caption = "As a share of one network. Diamonds mark consolidations; separate networks soon leave the picture."
    return svg.Plot("How the model grows", caption, drawn)


def cost_per_task(report: Report) -> svg.Plot:
    """Seconds and bytes that every task took."""
    learning = [(place, task.seconds) for place, task in enumerate(report.tasks) if task.seconds is not None]
    rounds = [(row.tasks - 0.5, row.seconds) for row in report.consolidations if row.seconds is not None]
    kilobytes = [task.bytes / 1000 for task in report.tasks]
    with svg.drawing():
        figure = svg.blank(330)
        upper, lower = figure.subplots(2, 1, sharex=True)
        if learning:
            upper.bar(*zip(*learning, strict=True), color=svg.BLUE, width=0.7, label="learning")
        if rounds:
            upper.plot(*zip(*rounds, strict=True), "D", color=svg.ORANGE, markersize=5, label="consolidation")
        lower.bar(range(len(kilobytes)), kilobytes, color=svg.BLUE, width=0.7)
        upper.set_ylabel("seconds")
        lower.set_ylabel("kB stored")
        for axes in (upper, lower):
            axes.grid(axis="y")
        number_tasks(lower.xaxis, len(report.tasks))
        if learning or rounds:
            figure.legend(loc="outside upper left", ncols=2)
        total = formats.duration(summarise(report).learning_seconds)
        label = (
            f"Bars per task: {total} of learning in all, {formats.size(sum(kilobytes) * 1000)} stored for single tasks."
        )
        drawn = svg.inline(figure, "cost", label)
    caption = "Wall-clock time of each training and consolidation, and what is stored for that task alone."
    return svg.Plot("Time and storage per task", caption, drawn)


def clusters(report: Report, layer: LayerRow) -> svg.Plot:
    """Which tasks share parameters at one layer; a cluster of one shares nothing and is not drawn."""
    arrival = {task.name: place for place, task in enumerate(report.tasks)}
    rows = [(sorted(arrival[name] for name in row.members), row) for row in layer.clusters if len(row.members) > 1]
    rows.sort(key=lambda row: row[0])
    grouped = {place for members, _ in rows for place in members}
    alone = [place for place in arrival.values() if place not in grouped]
    with svg.drawing():
        figure = svg.blank(75 + min(ROW * (len(rows) + 1), max(TALLEST, LINE * (len(rows) + 1))))
        axes = figure.subplots()
        _beside(axes, -1, "shared")
        for height, (members, row) in enumerate(rows):
            axes.plot(members, [height] * len(members), "o-", color=svg.BLUE, markersize=4, linewidth=1)
            _beside(axes, height, formats.count(row.shared_elements))
        axes.plot(alone, [len(rows)] * len(alone), "o", color=svg.MUTED, markersize=3, mfc="none")
        axes.set_yticks(range(len(rows) + 1), labels=[*(str(row.index) for _, row in rows), "none"])
        axes.set(ylim=(len(rows) + 0.6, -0.6), xlim=(-0.8, len(arrival) - 0.2), ylabel="cluster")
        number_tasks(axes.xaxis, len(arrival))
        sizes = f"{counted(len(rows), 'cluster')} of two tasks or more, {counted(len(alone), 'task')} in none"
        drawn = svg.inline(figure, f"clusters-{layer.name}", f"{layer.name}: {sizes}.")
    shape = " x ".join(map(str, layer.shape))
    caption = f"{shape}; one line per cluster joins its tasks; beside it the elements that they share."
    return svg.Plot(f"Clusters at {layer.name}", caption, drawn)


def _growth(axes: Axes, report: Report, values: Sequence[float], colour: str, line: str, name: str) -> None:
    """One line from version to version, a diamond at consolidations and a dot where it is now."""
    tasks = [point.tasks for point in report.capacity]
    marked = [place for place, point in enumerate(report.capacity) if point.kind == CONSOLIDATE]
    axes.plot(tasks, values, line, color=colour, marker="D", markersize=4, markevery=marked, label=name)
    axes.plot(tasks[-1], values[-1], "o", color=colour, markersize=4)


def _beside(axes: Axes, height: float, text: str) -> None:
    """Text to the right of the axes."""
    axes.text(1.01, height, text, transform=axes.get_yaxis_transform(), va="center", fontsize=10, color=svg.MUTED)


def _task_list(report: Report) -> tuple[Figure, Axes]:
    """Axes with one row per task, the first on top, named as far as there is room."""
    tasks = len(report.tasks)
    height = min(ROW * tasks, TALLEST)
    figure = svg.blank(100 + height)
    axes = figure.subplots()
    places = range(0, tasks, math.ceil(LINE * tasks / height))
    digits = len(str(tasks))
    axes.set_yticks(places, labels=[_numbered(report.tasks[place].name, place + 1, digits) for place in places])
    axes.set_ylim(tasks - 0.4, -0.6)
    axes.grid(axis="both")
    return figure, axes


def _numbered(name: str, number: int, digits: int) -> str:
    return f"{formats.shortened(name, NAME)}  {number:{FIGURE_SPACE}>{digits}}"


def _accuracy_axis(axes: Axes) -> None:
    axes.set_xlim(-1, 101)
    axes.set_xticks(range(0, 101, 20), labels=[f"{share} %" for share in range(0, 101, 20)])
    axes.set_xlabel("test accuracy")


def _marks(
    axes: Axes,
    accuracies: Sequence[Accuracy],
    marker: str,
    colour: str,
    label: str,
    *,
    hollow: bool = False,
    markersize: float = 8,
) -> None:
    """One mark per task that was measured; a baseline without any is not in the legend either."""
    known = [(100 * accuracy, place) for place, accuracy in enumerate(accuracies) if accuracy is not None]
    if not known:
        return
    axes.plot(
        [share for share, _ in known],
        [place for _, place in known],
        marker,
        color=colour,
        label=label,
        markersize=markersize,
        markeredgewidth=1.5,
        markerfacecolor="none" if hollow else colour,
        clip_on=False,
    )


def _per_task_label(report: Report) -> str:
    parts = [f"{name} {formats.percent(value.value)}" for name, value in summarise(report).averages]
    return f"Accuracy of {counted(len(report.tasks), 'task')}; average {', '.join(parts)}."
