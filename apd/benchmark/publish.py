"""From finished cells to what people open: a Markdown table, the raw results as Parquet, and two figures."""

from collections.abc import Sequence
from statistics import fmean

from apd.benchmark.cell import CellResult
from apd.benchmark.protocol import Method, Protocol
from apd.benchmark.summary import MethodSummary, summarise
from apd.benchmark.tables import markdown, rows
from apd.report.benchmark import KINDS, Series, accuracy_against_capacity, accuracy_over_orders
from apd.store.results import Results, encode_rows


def publish(place: Results, protocol: Protocol, results: Sequence[CellResult], command: str) -> list[str]:
    """Write everything; returns the URLs, the table's first.

    results: every method in the same orders and seeds. command: what makes the table again.
    """
    series = [_series(summary, results) for summary in summarise(results)]
    files = {
        "table.md": markdown(protocol, results, command).encode(),
        "results.parquet": encode_rows(rows(protocol, results)),
    }
    for kind in KINDS:
        files[f"accuracy-against-capacity.{kind}"] = accuracy_against_capacity(series, kind)
        files[f"accuracy-over-orders.{kind}"] = accuracy_over_orders(series, kind)
    return [place.save(name, data) for name, data in files.items()]


def _series(summary: MethodSummary, results: Sequence[CellResult]) -> Series:
    own = [result for result in results if result.cell.method == summary.method]
    return Series(
        label=summary.method,
        family=Method.parse(summary.method).name,
        capacity=summary.paper_capacity.mean,
        accuracy=summary.accuracy.mean,
        deviation=summary.accuracy.deviation or 0.0,
        tasks=_finals(own),
    )


def _finals(cells: Sequence[CellResult]) -> dict[str, tuple[float, ...]]:
    """Final accuracies per task, one per order.

    The orders of a seed are ranked before the mean over seeds is taken: the mean of one order over seeds would hide a
    spread that every seed has, but not in the same order.
    """
    found: dict[str, dict[int, list[float]]] = {}
    for cell in cells:
        for task in cell.tasks:
            found.setdefault(task.task, {}).setdefault(cell.cell.seed, []).append(task.accuracies[-1])
    ranked = {task: zip(*map(sorted, seeds.values()), strict=True) for task, seeds in found.items()}
    return {task: tuple(map(fmean, ranks)) for task, ranks in ranked.items()}
