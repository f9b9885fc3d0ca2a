"""What a stream's report takes from a benchmark: its own tasks, learned in other orders."""

from dataclasses import replace
from pathlib import Path

import pytest

from apd.benchmark import Cell, CellResult, Protocol, method_like, other_orders, other_settings
from apd.config import LearningConfig, StreamConfig, to_json
from apd.errors import DataError
from apd.report.content import OrderRow
from apd.store.results import Results
from tests.benchmark import known


def keeping(folder: Path, cells: list[CellResult]) -> Results:
    place = Results(str(folder))
    for cell in cells:
        place.finish(cell.cell.name, cell.to_json())
    return place


def test_final_accuracies_in_the_other_orders_are_means_over_the_seeds(tmp_path: Path):
    place = keeping(tmp_path, known.forgetful())
    (other,) = other_orders(place, "finetuning", ["c", "b", "a"])
    assert other == OrderRow("order A", pytest.approx((0.8, 0.7, 0.6)))
    (other,) = other_orders(place, "finetuning", ["a", "b", "c"])
    assert other == OrderRow("order B", pytest.approx((0.7, 0.8, 0.9)))


def test_settings_that_are_not_the_streams_are_named(tmp_path: Path):
    stream = StreamConfig((1, 8, 8), learning=LearningConfig(epochs=7, seed=3))
    protocol = Protocol("digits", network=stream.network, learning=LearningConfig(epochs=7, seed=0, variant="apd1"))
    place = Results(str(tmp_path))
    place.claim(to_json(protocol), {"tasks": {}, "notes": []})
    assert other_settings(place, "apd2", stream) == []
    other = replace(stream, learning=LearningConfig(epochs=9))
    assert other_settings(place, "apd2", other) == ["learning.epochs 7, in the stream 9"]
    older, learning = Results(str(tmp_path / "older")), to_json(protocol)["learning"]
    del learning["cuda_graphs"]  # as if the place had been made before there was such a setting
    older.claim(to_json(protocol) | {"learning": learning}, {"tasks": {}, "notes": []})
    assert other_settings(older, "apd2", stream) == []


def test_cells_of_the_streams_own_budget_are_taken_where_there_are_any(tmp_path: Path):
    half = LearningConfig(capacity_per_task=0.005)
    (one, *_) = known.forgetful()
    place = keeping(tmp_path, [replace(one, cell=Cell("apd2", "A", 0))])
    place.claim(to_json(Protocol("digits")), {"tasks": {}, "notes": []})
    stream = StreamConfig((1, 8, 8), learning=half)
    assert method_like(place, half) == "apd2"
    assert other_settings(place, "apd2", stream) == ["learning.capacity_per_task 0.01, in the stream 0.005"]
    keeping(tmp_path, [replace(one, cell=Cell("apd2@0.005", "A", 0))])
    assert method_like(place, half) == "apd2@0.005"
    assert other_settings(place, "apd2@0.005", stream) == []
    assert method_like(place, LearningConfig()) == "apd2"


def test_results_of_something_else_are_refused_by_name(tmp_path: Path):
    place = keeping(tmp_path, known.forgetful())
    with pytest.raises(DataError, match="has no finished cell of apd2; those that are finished are of: finetuning"):
        other_orders(place, "apd2", ["a", "b", "c"])
    with pytest.raises(DataError, match="the same tasks, but one of them lacks c, d"):
        other_orders(place, "finetuning", ["a", "b", "d"])
    with pytest.raises(DataError, match="those that are finished are of: none"):
        other_orders(Results(str(tmp_path / "empty")), "apd2", ["a"])
