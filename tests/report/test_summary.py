import dataclasses

import pytest

from apd.report.content import AccuracyRow, OrderRow
from apd.report.summary import Average, average, forgetting, summarise
from tests.report import sample


def test_forgetting_splits_by_what_made_each_version():
    rows = (
        AccuracyRow(1, "learn", (0.9, None)),
        AccuracyRow(2, "learn", (0.9, 0.8)),
        AccuracyRow(3, "consolidate", (0.8, 0.8)),
        AccuracyRow(4, "prune", (0.8, 0.75)),
    )
    lost = forgetting(rows)
    assert lost.consolidation == pytest.approx(0.1 / 2)
    assert lost.everything_else == pytest.approx(0.05 / 2)
    assert lost.total == pytest.approx((0.9 - 0.8 + 0.8 - 0.75) / 2)


def test_a_version_that_was_not_evaluated_hides_nothing():
    rows = (
        AccuracyRow(1, "learn", (0.9,)),
        AccuracyRow(2, "learn", (None,)),
        AccuracyRow(3, "consolidate", (0.7,)),
    )
    assert forgetting(rows).total == pytest.approx(0.2)


def test_learning_that_moves_nothing_is_exactly_zero(report):
    lost = summarise(report).forgetting
    assert lost.everything_else == 0.0
    assert lost.consolidation > 0


def test_forgetting_is_the_mean_change_of_the_tasks(report):
    changes = [task.change for task in report.tasks]
    assert summarise(report).forgetting.total == pytest.approx(-sum(changes) / len(changes))


def test_an_average_says_over_how_many_tasks():
    assert average([0.5, None, 1.0]) == Average(0.75, 2)
    assert average([None]) is None


def test_the_last_version_gives_the_size(report):
    summary = summarise(report)
    assert summary.paper_capacity == report.capacity[-1].paper_capacity
    assert summary.byte_share == report.capacity[-1].bytes / report.network_bytes
    assert summary.learning_seconds == pytest.approx(sum(task.seconds for task in report.tasks))


def test_a_stream_whose_tasks_were_all_forgotten_has_no_size(report):
    """Its capacity then still ends with the last version that had tasks."""
    forgotten = summarise(sample.forgotten(report))
    assert [forgotten.tasks, forgotten.paper_capacity, forgotten.bytes, forgotten.byte_share] == [0, None, None, None]


def test_order_spread_is_max_less_min_over_all_orders():
    report = sample.report(2)
    now = [task.accuracy_now for task in report.tasks]
    lower = OrderRow("B", (now[0] - 0.1, now[1]))
    lowest = OrderRow("C", (now[0] - 0.3, now[1] - 0.02))
    orders = summarise(dataclasses.replace(report, orders=(lower, lowest))).orders
    assert (orders.average, orders.maximum, orders.count) == (pytest.approx(0.16), pytest.approx(0.3), 3)


def test_nothing_measured_is_none_not_zero():
    empty = summarise(sample.report(0))
    assert empty.tasks == 0
    assert [empty.now, empty.forgetting, empty.orders, empty.bytes, empty.learning_seconds] == [None] * 5
