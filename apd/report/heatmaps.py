"""The figures of a report that are matrices. Tasks are numbered from 1 in order of arrival."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from apd.report import formats, svg
from apd.report.content import AccuracyRow, Report
from apd.report.summary import CONSOLIDATE, average
from apd.wording import counted

Matrix = NDArray[np.float64]

DIGITS = 40
"""Most digits in the labels along an axis of tasks or versions."""
ANNOTATED = 16
"""Most columns of a matrix whose cells carry their number."""
NAME = 24
"""Most characters of a parameter's name beside an axis."""


def accuracy_matrix(report: Report) -> svg.Plot:
    """Accuracy of every task after every version."""
    return svg.Plot(
        "Accuracy after every version",
        "One row per version, one column per task, in %. A column that keeps its colour is a task that is not "
        "forgotten. Triangles mark consolidations.",
        _accuracies(report.accuracy, [row.version for row in report.accuracy], "version", "accuracy-matrix"),
    )


def fine_tuning_matrix(report: Report) -> svg.Plot:
    """The same matrix for the network that was fine-tuned from task to task."""
    trained = [sum(accuracy is not None for accuracy in row.accuracies) for row in report.fine_tuning]
    return svg.Plot(
        "The same for fine-tuning one network",
        "The baseline: one network of the same size, trained on one task after another, in %. Columns that fade are "
        "tasks that it forgets.",
        _accuracies(report.fine_tuning, trained, "tasks trained", "fine-tuning-matrix"),
    )


def tau_density(report: Report) -> svg.Plot:
    """Non-zeros of every task's tau in every layer."""
    values = np.array([layer.tau_densities for layer in report.layers], dtype=np.float64)
    shown = np.where(values > 0, values, np.nan)
    names = [formats.shortened(layer.name, NAME) for layer in report.layers]
    with svg.drawing():
        figure = svg.blank(110 + max(18 * len(names), 40))
        axes = figure.subplots()
        image = axes.imshow(shown, norm=_logarithmic(shown), cmap="cividis", aspect="auto", interpolation="none")
        axes.set_yticks(range(len(names)), labels=names)
        number_tasks(axes.xaxis, len(report.tasks))
        _colour_bar(figure, axes, image, FuncFormatter(lambda share, _: f"{100 * share:g} %"))
        largest = formats.small_percent(float(values.max()))
        sizes = f"{counted(len(names), 'layer')} by {counted(len(report.tasks), 'task')}"
        label = f"Heat map of tau's density, {sizes}, largest {largest}."
        drawn = svg.inline(figure, "tau-density", label)
    caption = (
        "Share of each layer's elements where a task has parameters of its own, on a logarithmic scale. Blank: none."
    )
    return svg.Plot("What each task keeps to itself", caption, drawn)


def similarity(report: Report) -> svg.Plot:
    """Cosine between the taus of every two tasks."""
    values = np.array(report.similarity, dtype=np.float64)
    np.fill_diagonal(values, np.nan)
    reach = max(float(np.nanmax(np.abs(values))), 0.01)
    with svg.drawing():
        figure = svg.blank(svg.WIDTH)
        axes = figure.subplots()
        image = axes.imshow(values, norm=Normalize(-reach, reach), cmap="PuOr_r", aspect="auto", interpolation="none")
        number_tasks(axes.xaxis, len(values))
        number_tasks(axes.yaxis, len(values))
        _colour_bar(figure, axes, image, FuncFormatter(lambda cosine, _: f"{cosine:.2g}".replace("-", formats.MINUS)))
        label = f"Heat map of the cosine between the taus of {len(values)} tasks, at most {reach:.2f} in size."
        drawn = svg.inline(figure, "similarity", label)
    caption = (
        "Cosine of the angle between two tasks' own parameters, shared ones of their clusters included. Orange: they "
        "change the network alike; purple: against each other. A task with itself is left blank."
    )
    return svg.Plot("Which tasks resemble each other", caption, drawn)


def number_tasks(axis: Axis, tasks: int) -> None:
    """Number an axis 1 to `tasks`, at positions 0 to tasks - 1, and leave out what would not fit."""
    _number(axis, range(1, tasks + 1), "task, in order of arrival")


def thinned(numbers: Sequence[int]) -> list[int]:
    """Positions of the numbers to print: all, or the first and the multiples of 5, 10, 20, 50, ..."""
    most = DIGITS // len(str(max(numbers)))
    step = next(step for step in (1, 5, 10, 20, 50, 100, 200, 500, max(numbers)) if len(numbers) <= step * most)
    return [place for place, number in enumerate(numbers) if place == 0 or number % step == 0]


def _number(axis: Axis, numbers: Sequence[int], label: str) -> None:
    places = thinned(numbers)
    axis.set_ticks(places, labels=[str(numbers[place]) for place in places])
    axis.set_label_text(label)


def _accuracies(rows: Sequence[AccuracyRow], numbers: Sequence[int], numbered: str, key: str) -> str:
    values = np.array([row.accuracies for row in rows], dtype=np.float64)
    versions, tasks = values.shape
    with svg.drawing():
        figure = svg.blank(90 + min(max(tasks * 26, 80), 420))
        axes = figure.subplots()
        image = axes.imshow(100 * values, norm=Normalize(0, 100), cmap="viridis", aspect="auto", interpolation="none")
        number_tasks(axes.xaxis, tasks)
        _number(axes.yaxis, numbers, numbered)
        _mark_consolidations(axes, rows)
        if tasks <= ANNOTATED:
            _annotate(axes, 100 * values)
        _colour_bar(figure, axes, image, FuncFormatter(lambda share, _: f"{share:.0f} %"))
        sizes = f"{counted(versions, 'row')} by {counted(tasks, 'task')}"
        return svg.inline(figure, key, f"Heat map of accuracy, {sizes}. {_course(rows)}")


def _course(rows: Sequence[AccuracyRow]) -> str:
    first, last = average(_when_learned(rows)), average(rows[-1].accuracies)
    if first is None or last is None:
        return "Nothing is measured."
    return f"On average {formats.percent(first.value)} when learned and {formats.percent(last.value)} in the last row."


def _when_learned(rows: Sequence[AccuracyRow]) -> list[float]:
    columns = zip(*(row.accuracies for row in rows), strict=True)
    known = ([value for value in column if value is not None] for column in columns)
    return [column[0] for column in known if column]


def _mark_consolidations(axes: Axes, rows: Sequence[AccuracyRow]) -> None:
    beside = axes.get_yaxis_transform()
    for place, row in enumerate(rows):
        if row.kind == CONSOLIDATE:
            axes.plot(1.015, place, "<", color=svg.VERMILION, markersize=5, transform=beside, clip_on=False)


def _annotate(axes: Axes, values: Matrix) -> None:
    for row, column in np.argwhere(~np.isnan(values)):
        value = values[row, column]
        # viridis is dark up to about 60 of its 100 steps; these two are the same in a light and a dark page.
        colour = "#ffffff" if value < 60 else "#000000"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=8.5)


def _logarithmic(values: Matrix) -> LogNorm:
    """Whole decades around the known values, so that the scale has readable ends."""
    known = values[~np.isnan(values)]
    if not len(known):
        return LogNorm(1e-4, 1)
    low, high = np.floor(np.log10(known.min())), np.ceil(np.log10(known.max()))
    return LogNorm(10.0 ** min(low, high - 1), 10.0**high)


def _colour_bar(figure: Figure, axes: Axes, image: AxesImage, form: FuncFormatter) -> None:
    height = 72 * figure.get_figheight()
    bar = figure.colorbar(
        image, ax=axes, location="bottom", format=form, aspect=45, fraction=14 / height, pad=8 / height
    )
    bar.ax.tick_params(length=0)
    for artist in bar.ax.collections:
        # As one small picture instead of 256 outlined rectangles.
        artist.set_rasterized(True)
