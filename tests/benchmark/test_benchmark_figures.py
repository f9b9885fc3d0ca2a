import dataclasses
import re
from itertools import pairwise
from statistics import fmean

import pytest

from apd.benchmark import publish
from apd.benchmark.summary import summarise
from apd.report.benchmark import KINDS, Series, accuracy_against_capacity, accuracy_over_orders
from apd.store.results import Results
from tests.benchmark import known

FIGURES = (accuracy_against_capacity, accuracy_over_orders)
BEGINNINGS = {"svg": b"<?xml", "png": b"\x89PNG"}


def series() -> list[Series]:
    tasks = {"a": (0.5, 0.7), "b": (0.6, 0.8)}
    return [
        Series("apd2@0.02", "apd2", 1.4, 0.62, 0.01, tasks),
        Series("apd2", "apd2", 1.2, 0.61, 0.01, tasks),
        Series("stl", "stl", 20.0, 0.6, 0.0, tasks),
        Series("ewc", "ewc", 1.0, 0.4, 0.02, {"a": (0.1, 0.5), "b": (0.2, 0.9)}),
    ]


def one(capacity: float = 1.0, *accuracies: float) -> Series:
    """A method whose tasks have these accuracies, in every order."""
    tasks = {f"task {place}": (accuracy,) for place, accuracy in enumerate(accuracies or (0.5,))}
    return Series("apd2", "apd2", capacity, fmean(accuracies or (0.5,)), 0.0, tasks)


def ticks(drawing: str, axis: str) -> list[tuple[float, str]]:
    """(position in points, label) along an axis of the only panel."""
    groups = re.findall(
        rf'<g id="{axis}tick_\d+">.*?<use [^>]* x="(\S+)" y="(\S+)".*?<!-- (.*?) -->', drawing, re.DOTALL
    )
    return [(float(x if axis == "x" else y), label) for x, y, label in groups]


def accuracy_at(drawing: str, height: float) -> float:
    """In [0, 1]: what the only panel shows at that height in points."""
    (low, first), *_, (high, last) = ticks(drawing, "y")
    shares = [float(label.removesuffix(" %")) / 100 for label in (first, last)]
    return shares[0] + (height - low) / (high - low) * (shares[1] - shares[0])


@pytest.mark.parametrize("draw", FIGURES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_is_a_file_and_the_same_every_time(draw, kind):
    data = draw(series(), kind)
    assert data.startswith(BEGINNINGS[kind])
    assert draw(series(), kind) == data


@pytest.mark.parametrize("draw", FIGURES)
def test_a_figure_depends_on_nothing_outside(draw):
    text = draw(series(), "svg").decode()
    assert "<dc:date>" not in text
    assert not re.search(r'href="(?!#)', text)


def test_one_panel_per_method():
    panels = re.findall(r'<g id="axes_\d+">', accuracy_over_orders(series(), "svg").decode())
    assert len(panels) == len(series())


def test_two_panels_leave_no_empty_place_for_a_third():
    widths = [
        float(re.search(r'<svg[^>]* width="([\d.]+)pt"', accuracy_over_orders(series()[:count], "svg").decode())[1])
        for count in (2, 3, 4)
    ]
    assert widths == pytest.approx([widths[2] * 2 / 3, widths[2], widths[2]])


def test_one_curve_per_family():
    bars = re.findall(r'<g id="LineCollection_\d+">', accuracy_against_capacity(series(), "svg").decode())
    assert len(bars) == 2 * 3, "three families, on the axes and in the legend"


@pytest.mark.parametrize("draw", FIGURES)
@pytest.mark.parametrize("accuracies", [(0.9957, 0.9963), (0.995, 0.995 + 1e-6), (0.7, 0.7), (0.1, 0.9)])
def test_no_two_ticks_of_accuracy_read_the_same(draw, accuracies):
    methods = [one(1.0, accuracies[0]), dataclasses.replace(one(2.0, accuracies[1]), family="stl")]
    drawn = draw(methods if draw is accuracy_against_capacity else [one(1.0, *accuracies)], "svg").decode()
    labels = [label for _, label in ticks(drawn, "y")]
    assert len(labels) == len(set(labels)) > 2


@pytest.mark.parametrize("draw", FIGURES)
def test_accuracy_ends_at_a_hundred_per_cent(draw):
    methods = [one(1.0, 0.0), one(2.0, 1.0)]
    drawn = draw(methods if draw is accuracy_against_capacity else [one(1.0, 0.0, 1.0)], "svg").decode()
    frame = re.search(r'<g id="axes_1">.*?<path d="(.*?)"', drawn, re.DOTALL)[1]
    heights = [float(point.split()[1]) for point in re.findall(r"[ML] (\S+ \S+)", frame)]
    assert accuracy_at(drawn, max(heights)) == pytest.approx(-0.02, abs=0.005)
    assert accuracy_at(drawn, min(heights)) == pytest.approx(1.02, abs=0.005)


@pytest.mark.parametrize(("tasks", "expected"), [(1, [1]), (3, [1, 2, 3]), (16, [2, 4, 6]), (100, [20, 40, 60])])
def test_tasks_are_numbered_by_whole_numbers(tasks, expected):
    drawn = accuracy_over_orders([one(1.0, *[0.5] * tasks)], "svg").decode()
    assert [label for _, label in ticks(drawn, "x")][:3] == list(map(str, expected))
    assert "<!-- task, by name -->" in drawn


def test_every_column_of_panels_is_numbered():
    labels = re.findall(r"<!-- (\S+) -->", accuracy_over_orders(series(), "svg").decode())
    assert labels.count("1") == labels.count("2") == 3


@pytest.mark.parametrize("least", [0.4, 1.0])
@pytest.mark.parametrize("largest", [1.0, 1.04, 2.9, 4.992, 16.0, 49.0, 100.6, 150.0, 999.0, 3000.0])
def test_labels_of_capacity_do_not_touch(least, largest):
    found = ticks(accuracy_against_capacity([one(least), one(largest)], "svg").decode(), "x")
    widths = [6.4 * len(label) for _, label in found]
    gaps = [right - left for (left, _), (right, _) in pairwise(found)]
    assert gaps
    assert all(gap > sum(widths[place : place + 2]) / 2 for place, gap in enumerate(gaps))


def test_capacity_runs_between_round_values_that_hold_everything():
    ends = {}
    for capacities in [(1.0,), (0.998, 4.992), (1.2, 16.1), (1.5, 100.6), (1.0, 150.0), (0.9,)]:
        found = ticks(accuracy_against_capacity([one(capacity) for capacity in capacities], "svg").decode(), "x")
        ends[capacities] = found[0][1], found[-1][1]
    assert list(ends.values()) == [
        ("100 %", "120 %"),
        ("100 %", "500 %"),
        ("100 %", "2,000 %"),
        ("100 %", "10,000 %"),
        ("100 %", "30,000 %"),
        ("70 %", "100 %"),
    ]


def test_long_names_keep_their_ends():
    method = dataclasses.replace(one(), label="panel-" + "a" * 90 + "-end", family="legend-" + "b" * 90 + "-end")
    panel, legend = (re.findall(r"<!-- (\S+…\S+) -->", draw([method], "svg").decode()) for draw in FIGURES[::-1])
    assert [panel[0][:6], panel[0][-4:]] == ["panel-", "-end"]
    assert [legend[0][:6], legend[0][-4:]] == ["legend", "-end"]


def test_the_spread_over_orders_is_that_of_the_table(tmp_path):
    """The orders change places from seed to seed: their means over seeds do not differ, but every seed's orders do."""
    finals = [("A", 0, 0.5, 0.8), ("B", 0, 0.9, 0.6), ("A", 1, 0.9, 0.7), ("B", 1, 0.5, 0.7)]
    cells = [known.result("apd2", order, seed, {"a": [a, a], "b": [b]}) for order, seed, a, b in finals]
    place = Results(str(tmp_path))
    publish(place, known.tiny(), cells, "apd benchmark digits")
    drawn = place.read("accuracy-over-orders.svg").decode()
    dots: dict[str, list[float]] = {}
    for x, y in re.findall(r'<use [^>]* x="(\S+)" y="(\S+)" style="fill: #0072b2', drawn.partition('"legend_1"')[0]):
        dots.setdefault(x, []).append(accuracy_at(drawn, float(y)))
    assert [sorted(values) for values in dots.values()] == [pytest.approx([0.5, 0.9]), pytest.approx([0.65, 0.75])]
    spread = fmean(max(values) - min(values) for values in dots.values())
    assert spread == pytest.approx(summarise(cells)[0].average_disparity.mean)
    assert "mean over seeds; line: the task's OPD" in drawn
