"""The report's content is what the store holds."""

import dataclasses

import pytest

from apd.learner import Learner
from apd.overview import build_report
from apd.report.content import AccuracyRow, Report
from apd.report.page import html
from apd.store.upkeep import collect, rollback
from tests.overview.small_streams import NETWORK, SHARING, learner, samples


@pytest.fixture(scope="module")
def made() -> Learner:
    """Three tasks, a consolidation, a fourth task, and what other methods reach."""
    learner_ = learner(4, **SHARING)
    comparisons = learner_.stream.comparisons
    comparisons.put("task-0", {"separate": 0.9, "fine_tuning": {"task-0": 0.9}})
    comparisons.put("task-1", {"separate": 0.8, "fine_tuning": {"task-0": 0.4, "task-1": 0.85}})
    return learner_


@pytest.fixture(scope="module")
def report(made: Learner) -> Report:
    return build_report(made.stream, made.stream.head())


def test_tasks_with_their_accuracies_then_and_now(made: Learner, report: Report):
    accuracy, entries = made.accuracy(), made.stream.head().entries
    assert [task.name for task in report.tasks] == ["task-0", "task-1", "task-2", "task-3"]
    assert [len(task.classes) for task in report.tasks] == [2, 3, 2, 3]
    assert [task.accuracy_now for task in report.tasks] == list(accuracy.values())
    assert [task.accuracy_when_learned for task in report.tasks] == [entry.test_accuracy for entry in entries]
    assert [task.bytes for task in report.tasks] == [entry.bytes for entry in entries]


def test_what_other_methods_reach_is_that_after_the_last_task_they_met(report: Report):
    assert [task.separate for task in report.tasks] == [0.9, 0.8, None, None]
    assert [task.fine_tuning for task in report.tasks] == [0.4, 0.85, None, None]
    assert [row.accuracies for row in report.fine_tuning] == [(0.9, None, None, None), (0.4, 0.85, None, None)]


def test_the_accuracy_matrix_has_a_row_per_version(report: Report):
    assert [(row.version, row.kind) for row in report.accuracy] == [
        *((1, "learn"), (2, "learn"), (3, "learn"), (4, "consolidate"), (5, "learn"))
    ]
    assert [sum(value is not None for value in row.accuracies) for row in report.accuracy] == [1, 2, 3, 3, 4]
    assert report.accuracy[-1].accuracies == tuple(task.accuracy_now for task in report.tasks)


def test_capacity_grows_from_one_network(report: Report):
    assert [point.tasks for point in report.capacity] == [1, 2, 3, 3, 4]
    assert report.capacity[0].paper_capacity == pytest.approx(1.0, abs=0.15)
    assert report.capacity[-1].paper_capacity > report.capacity[0].paper_capacity
    assert report.parameters == 16 * 12 + 12 * 8
    assert report.network == NETWORK.name


def test_clusters_and_moves_are_those_of_the_consolidation(made: Learner, report: Report):
    (row,) = report.consolidations
    parts = made.stream.consolidation_report(made.stream.version(4))
    assert (row.version, row.tasks, row.accepted) == (4, 3, True)
    assert row.shared_elements == sum(part["local_shared_after"] for part in parts.values()) > 0
    assert 0 < row.largest_move <= SHARING["tolerance"]
    clusters = {layer.name: layer.clusters for layer in report.layers}
    assert list(clusters) == ["dense1.weight", "dense2.weight"]
    assert {name for name, found in clusters.items() if found} == {
        name for name, part in parts.items() if part["members"]
    }
    for layer in report.layers:
        for cluster in layer.clusters:
            assert cluster.members == ("task-0", "task-1", "task-2")
            assert cluster.largest_move == max(parts[layer.name]["moves"].values())


def test_similarity_is_one_with_itself_and_symmetric(report: Report):
    for row, values in enumerate(report.similarity):
        assert values[row] == pytest.approx(1.0) or values == (0.0,) * len(values)
        assert [other[row] for other in report.similarity] == pytest.approx(values)
    assert report.similarity[2][2] == pytest.approx(1.0)


def test_a_report_of_an_old_version_knows_nothing_later(made: Learner):
    old = build_report(made.stream, made.stream.version(2))
    assert [task.name for task in old.tasks] == ["task-0", "task-1"]
    assert old.consolidations == ()
    assert [row.version for row in old.accuracy] == [1, 2]


def test_a_stream_without_tasks_has_a_report_too():
    empty = learner(0)
    report = build_report(empty.stream, empty.stream.head())
    assert (report.tasks, report.accuracy, report.capacity) == ((), (), ())
    assert empty.stream.name in html(report)


def test_reports_go_on_after_a_task_was_forgotten():
    made = learner(3, **SHARING)
    made.forget("task-1")
    report = build_report(made.stream, made.stream.head())
    assert [task.name for task in report.tasks] == ["task-0", "task-2"]
    assert report.capacity[-1].tasks == 2
    assert "task-1" not in html(report)


def test_reports_go_on_after_old_versions_were_collected():
    made = learner(3, **SHARING)
    collect(made.stream, keep=1, grace=0)
    report = build_report(made.stream, made.stream.head())
    assert len(report.tasks) == 3
    assert report.capacity[-1].version == 4
    assert report.capacity[0].version > 1


def test_a_size_measured_before_stays_in_the_curve(made: Learner):
    made = learner(3, **SHARING)
    before = build_report(made.stream, made.stream.head()).capacity
    made.learn("more", samples(11))
    made.forget("task-0")
    after = build_report(made.stream, made.stream.head()).capacity
    assert after[: len(before)] == before


def test_after_a_rollback_the_report_is_that_of_the_version_it_went_back_to():
    made = learner(3, **SHARING)
    stream = made.stream
    assert stream.head().kind == "consolidate"
    before, back = build_report(stream, stream.version(3)), rollback(stream, 3)
    report = build_report(stream, back)
    assert report.accuracy == (*before.accuracy, AccuracyRow(5, "rollback", before.accuracy[-1].accuracies))
    assert report.capacity == (*before.capacity, dataclasses.replace(before.capacity[-1], version=5, kind="rollback"))
    assert (report.tasks, report.layers, report.consolidations) == (before.tasks, before.layers, ())
    fewer = build_report(stream, rollback(stream, 1))
    assert [(row.version, row.accuracies) for row in fewer.accuracy] == [
        *((1, before.accuracy[0].accuracies[:1]), (6, before.accuracy[0].accuracies[:1]))
    ]


def test_the_report_of_an_old_version_is_of_the_tasks_that_were_not_forgotten_since():
    made = learner(3)
    made.forget("task-1")
    report = build_report(made.stream, made.stream.version(3))
    assert [task.name for task in report.tasks] == ["task-0", "task-2"]
    assert {len(row.accuracies) for row in report.accuracy} == {2}
    assert len(report.similarity) == 2
