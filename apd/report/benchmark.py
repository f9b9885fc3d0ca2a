"""The figures of a benchmark, each a file of its own: the same data gives the same bytes."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from apd.report import formats, svg

Kind = Literal["svg", "png"]
KINDS: tuple[Kind, ...] = ("svg", "png")

COLOURS = (svg.BLUE, svg.VERMILION, svg.GREEN, svg.ORANGE, "#cc79a7", "#56b4e9", svg.MUTED)
"""Okabe and Ito's, and grey."""
MARKERS = "os^Dvph"

PANELS = 3
"""At most so many panels beside each other."""
NAME = 40
"""Most characters of a name above a panel."""
FAMILY = 16
"""Most characters of a name in the legend."""

SPREAD = "dots: the orders ranked within each seed,\nmean over seeds; line: the task's OPD"
"""How to read the figure; in lines that a single panel has room for."""

STEPS = (
    (3.0, (1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 7.0)),
    (50.0, (1.0, 2.0, 5.0)),
    (1000.0, (1.0, 3.0)),
    (math.inf, (1.0,)),
)
"""(factor between the least and the largest capacity, below which these ticks of a decade have room for labels)."""
NEAR = 1.05
"""A capacity that passes a tick by no more than this factor needs no further tick: stl is about a network per task."""
MARGIN = 0.02
"""What half a marker at the end of an axis needs, as a share of the axis."""
NARROWEST = 0.001
"""An axis shows at least so much accuracy: two decimals of per cent, as in the table, then tell its ticks apart."""


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
    """Final accuracies of each task, one per order: of every seed the lowest to the highest, then the mean over seeds.

    So the last less the first is the mean over seeds of the task's OPD.
    """


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
        _capacity_axis(axes, [one.capacity for one in series])
        _accuracy_axis(axes)
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
        label=formats.shortened(family, FAMILY),
    )


def _capacity_axis(axes: Axes, capacities: Sequence[float]) -> None:
    """Logarithmic, between round values that hold one network and all capacities."""
    least, largest = min(1.0, *capacities), max(1.0, *capacities)
    mantissas = next(mantissas for factor, mantissas in STEPS if largest < factor * least)
    decades = range(math.floor(math.log10(least)), math.floor(math.log10(largest)) + 2)
    steps = [mantissa * 10.0**decade for decade in decades for mantissa in mantissas]
    first = max(step for step in steps if step <= NEAR * least)
    last = min(step for step in steps if step > first and NEAR * step >= largest)
    ticks = [step for step in steps if first <= step <= last]
    margin = (last / first) ** MARGIN
    axes.set_xscale("log")
    axes.set_xlim(min(first, least) / margin, max(last, largest) * margin)
    axes.set_xticks(ticks, labels=[f"{100 * tick:,.0f} %" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def _accuracy_axis(axes: Axes) -> None:
    """Around what was drawn, but beyond 0 and 100 % only as far as a marker needs."""
    low, high = axes.get_ylim()
    missing = max(0.0, NARROWEST - (high - low)) / 2
    low, high = low - missing, high + missing
    margin = MARGIN * (high - low)
    axes.set_ylim(max(low, -margin), min(high, 1 + margin))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.6g} %"))


def accuracy_over_orders(series: Sequence[Series], kind: Kind) -> bytes:
    """One panel per method: each task's final accuracies over the orders, joined by a line as long as its OPD."""
    columns = min(PANELS, len(series))
    rows = -(-len(series) // columns)
    names = sorted({name for one in series for name in one.tasks})
    with svg.drawing():
        figure = Figure(figsize=(2 * svg.WIDTH / 72 * columns / PANELS, (90 + 150 * rows) / 72))
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
        for axes, one in zip(panels, series, strict=False):
            _panel(axes, one, names)
        for axes in panels[len(series) :]:
            axes.set_visible(False)
        for axes in panels[len(series) - columns : len(series)]:
            axes.xaxis.set_tick_params(labelbottom=True)  # also above a place that stays empty
        panels[0].set_xlim(0.5, len(names) + 0.5)
        panels[0].xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
        _accuracy_axis(panels[0])
        figure.supxlabel("task, by name", fontsize=11, color=svg.MUTED)
        figure.supylabel("final accuracy", fontsize=11, color=svg.MUTED)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left")
        return _file(figure, "accuracy-over-orders", kind)


def _panel(axes: Axes, one: Series, names: Sequence[str]) -> None:
    for place, name in enumerate(names, 1):
        values, label = one.tasks[name], SPREAD if place == 1 else None
        axes.plot(
            [place] * len(values),
            values,
            "o-",
            color=svg.MUTED,
            linewidth=1,
            markersize=2.5,
            markerfacecolor=svg.BLUE,
            markeredgecolor=svg.BLUE,
            label=label,
        )
    axes.set_title(formats.shortened(one.label, NAME), fontsize=11)
    axes.grid(axis="y")


def _file(figure: Figure, key: str, kind: Kind) -> bytes:
    """The figure as a file with nothing in it that changes from run to run."""
    out = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type") if kind == "svg" else ("Software",))
    with mpl.rc_context({"svg.hashsalt": key, "svg.fonttype": "path"}):
        figure.savefig(out, format=kind, facecolor=svg.PAPER, metadata=nothing, dpi=144)
    return out.getvalue()
