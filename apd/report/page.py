"""The report as one self-contained HTML page: no script, no network, readable on a phone and on paper."""

from collections.abc import Iterator
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from apd.report import charts, formats, heatmaps, svg
from apd.report.content import Report
from apd.report.summary import Average, Summary, summarise


def html(report: Report) -> str:
    """The whole page. The same report gives the same bytes; every name in it is escaped."""
    sources = files(__package__)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals["formats"] = formats
    template = environment.from_string(sources.joinpath("page.html").read_text(encoding="utf-8"))
    summary = summarise(report)
    return template.render(
        report=report,
        summary=summary,
        style=sources.joinpath("style.css").read_text(encoding="utf-8"),
        bars=list(_bars(summary)),
        plots=_plots(report) if report.tasks else {},
    )


def _plots(report: Report) -> dict[str, list[svg.Plot]]:
    """The figures of each section, in the page's order; a section may have none."""
    return {
        "accuracy": list(_accuracy(report)),
        "tasks": list(_tasks(report)),
        "size": list(_size(report)),
        "sharing": list(_sharing(report)),
    }


def _bars(summary: Summary) -> Iterator[tuple[str, str, Average]]:
    """(CSS class, name, average accuracy) of what was measured."""
    measured = (
        ("now", "this model", summary.now),
        ("separate", "separate networks", summary.separate),
        ("fine-tuning", "fine-tuning", summary.fine_tuning),
    )
    return ((kind, name, value) for kind, name, value in measured if value)


def _accuracy(report: Report) -> Iterator[svg.Plot]:
    if report.accuracy:
        yield heatmaps.accuracy_matrix(report)
    if report.fine_tuning:
        yield heatmaps.fine_tuning_matrix(report)


def _tasks(report: Report) -> Iterator[svg.Plot]:
    yield charts.accuracy_per_task(report)
    if report.orders:
        yield charts.order_robustness(report)
    yield charts.cost_per_task(report)


def _size(report: Report) -> Iterator[svg.Plot]:
    if report.capacity:
        yield charts.capacity(report)
    if report.layers:
        yield heatmaps.tau_density(report)


def _sharing(report: Report) -> Iterator[svg.Plot]:
    if len(report.tasks) > 1 and report.similarity:
        yield heatmaps.similarity(report)
    for layer in report.layers:
        if any(len(cluster.members) > 1 for cluster in layer.clusters):
            yield charts.clusters(report, layer)
