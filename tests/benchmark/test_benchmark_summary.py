import numpy as np
import pytest

from apd.benchmark.summary import Figure, accuracy_matrix, final_accuracies, summarise
from apd.benchmark.tables import COLUMNS, figure, markdown, rows
from apd.report.formats import MISSING
from tests.benchmark import known


def test_the_matrix_of_a_cell():
    expected = [[0.9, np.nan, np.nan], [0.7, 0.8, np.nan], [0.5, 0.6, 0.7]]
    np.testing.assert_array_equal(accuracy_matrix(known.forgetful()[0]), expected)


def test_final_accuracies_line_up_by_task_whatever_the_order():
    names, finals = final_accuracies(known.forgetful()[:2])
    assert names == ["a", "b", "c"]
    np.testing.assert_array_equal(finals, [[0.5, 0.6, 0.7], [0.7, 0.8, 0.9]])


def test_figures_of_a_known_benchmark():
    (summary,) = summarise(known.forgetful())
    first, second = (0.6 + 0.8) / 2, 0.8  # accuracy per seed, mean over orders
    close(summary.accuracy, first, second)
    close(summary.validation_accuracy, first - 0.1, second - 0.1)
    close(summary.backward_transfer, (-0.3 + 0) / 2, (-0.1 + 0) / 2)
    close(summary.forgetting, (0.3 + 0) / 2, (0.1 + 0) / 2)
    close(summary.average_disparity, 0.2, 0.0)
    close(summary.maximum_disparity, 0.2, 0.0)
    close(summary.paper_capacity, 1.2, 1.2)
    close(summary.byte_capacity, 1.5, 1.5)
    close(summary.seconds, 6.0, 6.0)


def close(found: Figure | None, first: float, second: float) -> None:
    assert found is not None
    assert found.mean == pytest.approx((first + second) / 2, abs=1e-12)
    assert found.deviation == pytest.approx(abs(first - second) / 2**0.5, abs=1e-12)


def test_forward_transfer_is_measured_against_the_separate_networks_of_the_same_order():
    separate = [
        known.result("stl", "A", 0, {"a": [0.5] * 3, "b": [0.7] * 2, "c": [0.9]}),
        known.result("stl", "B", 0, {"c": [0.9] * 3, "b": [0.7] * 2, "a": [0.5]}),
    ]
    tuned, alone = summarise([*known.forgetful()[:2], *separate])
    assert tuned.forward_transfer.mean == pytest.approx(((0.1 - 0.2) / 2 + (0.1 + 0.2) / 2) / 2)
    assert alone.forward_transfer is None
    assert summarise([*known.forgetful()[:2], separate[0]])[0].forward_transfer is None


def test_joint_training_forgets_nothing_and_one_order_says_nothing_about_orders():
    (summary,) = summarise(known.joint())
    assert summary.accuracy == Figure(0.75, None)
    assert summary.backward_transfer is summary.forgetting is summary.validation_accuracy is None
    assert summary.average_disparity is summary.maximum_disparity is None


def test_methods_keep_their_order():
    cells = [*known.forgetful()[:1], *known.joint()]
    assert [summary.method for summary in summarise(cells)] == ["finetuning", "mtl"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),  # noqa: RUF001
        (Figure(0.618, None), "61.80"),
        (Figure(0.618, 0.0031), "61.80 ± 0.31"),
        (Figure(-0.00001, None), "0.00"),
        (Figure(-0.002, None), "-0.20"),
    ],
)
def test_how_a_figure_is_written(value, expected):
    assert figure(value, 100, 2) == expected


def test_the_markdown_table():
    text = markdown(known.tiny(), known.forgetful(), "apd benchmark digits")
    heading, rule, row = text.splitlines()[2:5]
    assert heading.count("|") == rule.count("|") == row.count("|") == len(COLUMNS) + 1
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:4] == ["finetuning", "75.00 ± 7.07", "120.0 ± 0.0", "150.0 ± 0.0"]
    assert cells[4:] == ["-10.00 ± 7.07", "10.00 ± 7.07", MISSING, "10.00 ± 14.14", "10.00 ± 14.14", "6 ± 0"]
    for line in ("- orders: A B", "- seeds: 0 1", "- tasks: 3", "- data: a copy", "    apd benchmark digits"):
        assert line in text.splitlines()


def test_the_table_says_what_a_refit_sees_more_of_than_other_methods():
    assert "Where consolidation.refit is true, apd2 sees" in markdown(known.tiny(), known.forgetful(), "")


def test_rows_hold_everything_measured():
    table = rows(known.tiny(), known.forgetful())
    assert len(table) == 12
    first = table[0]
    assert (first["method"], first["order"], first["seed"], first["position"]) == ("finetuning", "A", 0, 1)
    assert (first["task"], first["accuracies"], first["seconds"]) == ("a", [0.9, 0.7, 0.5], 2.0)
    assert '"epochs":1' in first["settings"]
