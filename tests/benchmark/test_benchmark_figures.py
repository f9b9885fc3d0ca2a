import re

import pytest

from apd.report.benchmark import KINDS, Series, accuracy_against_capacity, accuracy_over_orders

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
