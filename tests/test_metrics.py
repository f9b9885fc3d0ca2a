import numpy as np
import pytest
import torch

from apd.errors import StateError
from apd.metrics import (
    average_accuracy,
    average_order_disparity,
    backward_transfer,
    forgetting,
    forward_transfer,
    maximum_order_disparity,
    order_disparity,
    paper_capacity,
    tau_counts,
    tau_density,
)
from apd.retroactive import re_express
from apd.state import Sparse, TaskState

NAN = float("nan")
MATRIX = np.array([[0.9, NAN, NAN], [0.7, 0.8, NAN], [0.8, 0.6, 0.5]])
ONE = np.array([[0.9]])


def test_accuracies_by_hand():
    assert average_accuracy(MATRIX) == pytest.approx((0.8 + 0.6 + 0.5) / 3)
    assert backward_transfer(MATRIX) == pytest.approx(((0.8 - 0.9) + (0.6 - 0.8)) / 2)
    assert forgetting(MATRIX) == pytest.approx(((0.9 - 0.8) + (0.8 - 0.6)) / 2)
    assert forward_transfer(MATRIX, [0.1, 0.7, 0.7]) == pytest.approx(((0.8 - 0.7) + (0.5 - 0.7)) / 2)


def test_a_task_that_gained_is_not_forgotten_less_than_nothing():
    gained = np.array([[0.5, NAN], [0.9, 0.7]])
    assert backward_transfer(gained) == pytest.approx(0.4)
    assert forgetting(gained) == pytest.approx(-0.4)


def test_one_task_transfers_nothing():
    assert (average_accuracy(ONE), backward_transfer(ONE), forgetting(ONE), forward_transfer(ONE, [0.5])) == (
        0.9,
        0,
        0,
        0,
    )


@pytest.mark.parametrize("matrix", [np.zeros((2, 3)), np.zeros((0, 0)), np.zeros(3)])
def test_what_is_no_accuracy_matrix_is_refused(matrix):
    with pytest.raises(StateError, match="square and not empty"):
        average_accuracy(matrix)


def test_order_robustness_by_hand():
    final = np.array([[0.5, 0.9], [0.7, 0.8], [0.6, 0.9]])
    np.testing.assert_allclose(order_disparity(final), [0.2, 0.1])
    assert average_order_disparity(final) == pytest.approx(0.15)
    assert maximum_order_disparity(final) == pytest.approx(0.2)


SIGMA = {"a": torch.tensor([[1.0, 2.0, 0.0], [4.0, 5.0, 6.0]]), "b": torch.ones(1, 2)}
PRIVATE = {"bias": torch.ones(2), "head.weight": torch.ones(3, 2), "head.bias": torch.ones(3)}
HEAD = ("head.weight", "head.bias")


def task(name, sigma=SIGMA, tau=((0.0, 1.0, 0.0), (0.0, 0.0, 0.0)), clusters=None, local_shared=None) -> TaskState:
    taus = {"a": Sparse.from_dense(torch.tensor(tau)), "b": Sparse.zeros((1, 2))}
    masks = {"a": torch.zeros(2), "b": torch.zeros(1)}
    return TaskState(name, sigma, masks, taus, PRIVATE, clusters or {}, local_shared or {})


def test_capacity_of_two_tasks_by_hand():
    non_zeros = 7 + 2 * (3 + 1) + (2 + 9)
    size = 8 + 2 + 2 * 9
    assert paper_capacity([task("x"), task("y")], SIGMA, HEAD) == pytest.approx(non_zeros / size)


def test_members_of_a_cluster_count_their_sigma_g_once():
    shared = {"a": Sparse.from_dense(torch.ones(2, 3))}
    plain = paper_capacity([task("x"), task("y")], SIGMA, HEAD)
    together = [task("x", clusters={"a": 0}, local_shared=shared), task("y", clusters={"a": 0}, local_shared=shared)]
    apart = [task("x", clusters={"a": 0}, local_shared=shared), task("y", clusters={"a": 1}, local_shared=shared)]
    assert paper_capacity(together, SIGMA, HEAD) == pytest.approx(plain + 6 / 28)
    assert paper_capacity(apart, SIGMA, HEAD) == pytest.approx(plain + 12 / 28)


def test_a_task_on_an_older_sigma_counts_the_tau_it_has_on_this_one():
    newer = {"a": SIGMA["a"] + torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.0, 0.0]]), "b": SIGMA["b"]}
    older = task("x")
    assert tau_counts(older, newer) == {"a": 2, "b": 0}
    assert tau_counts(older, newer)["a"] == re_express(older, newer).tau["a"].nnz
    assert tau_density([older, task("y", sigma=newer)], newer) == {"a": 3 / 6, "b": 0.0}


def test_counting_on_a_sigma_of_another_shape_is_refused():
    with pytest.raises(StateError, match=r"sigma\['a'\] is \(1, 1\), task 'x' has \(2, 3\)"):
        tau_counts(task("x"), {"a": torch.zeros(1, 1), "b": torch.ones(1, 2)})
