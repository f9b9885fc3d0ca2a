"""`apd report --benchmark`: the report of a stream beside a benchmark of the same tasks, both as a user makes them."""

from pathlib import Path
from statistics import fmean

from apd.benchmark import other_orders
from apd.report.formats import points
from apd.store import Stream
from apd.store.results import Results
from tests.flows.command import apd, mistake
from tests.flows.small_tasks import copy, names

SMALL = ("--tasks", "3", "--set", "learning.epochs=1", "--set", "network.arguments.hidden=[16]", "--methods")


def test_a_report_shows_the_orders_that_a_benchmark_measured(learned: Stream, tmp_path: Path):
    stream, place = copy(learned, tmp_path / "ordered"), tmp_path / "benchmark"
    before = Path(apd("report", "--stream", stream.url).stdout.strip()).read_text()
    assert "order of arrival matter" not in before
    apd("benchmark", "digits", *SMALL, stream.config.learning.variant, "--out", place)
    page = Path(apd("report", "--stream", stream.url, "--benchmark", place).stdout.strip()).read_text()
    assert "order of arrival matter" in page
    rows = other_orders(Results(str(place)), stream.config.learning.variant, names(3))
    assert {row.label for row in rows} <= {f"order {letter}" for letter in "ABCDE"}
    own = [stream.evaluations.get(entry.theta_key)["test_accuracy"] for entry in stream.head().entries]
    columns = zip(own, *(row.accuracies for row in rows), strict=True)
    apart = [max(column) - min(column) for column in columns]
    spread = f"{points(fmean(apart))}, {points(max(apart))}"
    assert f"spread over {1 + len(rows)} orders: mean, largest</dt><dd>{spread}</dd>" in page


def test_a_benchmark_of_another_method_is_refused_in_one_line(learned: Stream, tmp_path: Path):
    said = mistake("report", "--stream", learned.url, "--benchmark", tmp_path / "nothing")
    assert "has no finished cell of" in said
