"""The figures of a benchmark, each a file of its own: the same data gives the same bytes."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from apd.report import svg

Kind = Literal["svg", "png"]
KINDS: tuple[Kind, ...] = ("svg", "png")

COLOURS = (svg.BLUE, svg.VERMILION, svg.GREEN, svg.ORANGE, "#cc79a7", "#56b4e9", svg.MUTED)
"""Okabe and Ito's, and grey."""
MARKERS = "os^Dvph"

PANELS = 3
"""At most so many panels beside each other."""


@dataclass(frozen=True, slots=True)
class Series:
    """One method, at one budget."""

    label: str
    """As in the tables."""
    family: str
    """Methods of one family differ in their budget alone, and are joined by a line."""
    capacity: float
    """Of the whole model by the paper's count, 1.0 being one network."""
    accuracy: float
    """Mean over tasks, orders and seeds, in [0, 1]."""
    deviation: float
    """Of the accuracy over seeds."""
    tasks: Mapping[str, tuple[float, ...]]
    """Final accuracies of each task: one per order, the mean over seeds."""


def accuracy_against_capacity(series: Sequence[Series], kind: Kind) -> bytes:
    """Every method's average accuracy over the size of its model, on a logarithmic axis; bars are over seeds."""
    families: dict[str, list[Series]] = {}
    for one in series:
        families.setdefault(one.family, []).append(one)
    with svg.drawing():
        figure = svg.blank(330)
        axes = figure.subplots()
        for place, (family, members) in enumerate(families.items()):
            members.sort(key=lambda one: one.capacity)
            _curve(axes, family, members, place)
        axes.set_xscale("log")
        ticks = _capacity_ticks([one.capacity for one in series])
        axes.set_xticks(ticks, labels=[f"{100 * tick:,.0f} %" for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))
        axes.set(xlabel="capacity, of one network", ylabel="average accuracy")
        axes.grid(axis="both")
        figure.legend(loc="outside upper left", ncols=4)
        return _file(figure, "accuracy-against-capacity", kind)


def _curve(axes: Axes, family: str, members: Sequence[Series], place: int) -> None:
    axes.errorbar(
        [one.capacity for one in members],
        [one.accuracy for one in members],
        yerr=[one.deviation for one in members],
        color=COLOURS[place % len(COLOURS)],
        marker=MARKERS[place % len(MARKERS)],
        markersize=6,
        linewidth=1,
        capsize=3,
        label=family,
    )


def _capacity_ticks(capacities: Sequence[float]) -> list[float]:
    """Round values up to the first above them all, so far apart that their labels do not touch."""
    largest = max(capacities)
    steps = [1.0, 1.2, 1.5, 2.0, 3.0, 5.0] if largest < 3 else [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
    return [step for step in steps if step <= largest] + [step for step in steps if step > largest][:1]


def accuracy_over_orders(series: Sequence[Series], kind: Kind) -> bytes:
    """One panel per method: each task's final accuracy in every order, a line from the least to the largest."""
    columns = min(PANELS, len(series))
    rows = -(-len(series) // columns)
    names = sorted({name for one in series for name in one.tasks})
    with svg.drawing():
        figure = Figure(figsize=(2 * svg.WIDTH / 72 * columns / PANELS, (60 + 150 * rows) / 72))
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
        for axes, one in zip(panels, series, strict=False):
            _panel(axes, one, names)
        for axes in panels[len(series) :]:
            axes.set_visible(False)
        figure.supxlabel("task", fontsize=11, color=svg.MUTED)
        figure.supylabel("final accuracy", fontsize=11, color=svg.MUTED)
        return _file(figure, "accuracy-over-orders", kind)


def _panel(axes: Axes, one: Series, names: Sequence[str]) -> None:
    for place, name in enumerate(names, 1):
        values = one.tasks[name]
        axes.plot([place, place], [min(values), max(values)], color=svg.MUTED, linewidth=1)
        axes.plot([place] * len(values), values, "o", color=svg.BLUE, markersize=2.5)
    axes.set_title(one.label, fontsize=11)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))
    axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    axes.grid(axis="y")


def _file(figure: Figure, key: str, kind: Kind) -> bytes:
    """The figure as a file with nothing in it that changes from run to run."""
    out = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type") if kind == "svg" else ("Software",))
    with mpl.rc_context({"svg.hashsalt": key, "svg.fonttype": "path"}):
        figure.savefig(out, format=kind, facecolor=svg.PAPER, metadata=nothing, dpi=144)
    return out.getvalue()
