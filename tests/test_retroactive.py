"""The update of earlier tasks, against the paper's objectives (2) and (3), written naively, and autograd."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from apd.decomposition import broadcast_mask, compose
from apd.errors import ShapeMismatch
from apd.retroactive import DriftStatistics, closed_form_tau, re_express, sigma_median
from apd.state import Sparse, TaskState

SHAPE = (3, 2, 2)

seeds = st.integers(0, 2**31)
counts = st.integers(1, 6)
weights = st.floats(1e-3, 10)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def earlier_tasks(seed: int, count: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """(theta*, tau, mask) of each."""
    return [
        (draw(seed + i, *SHAPE), draw(seed + 100 + i, *SHAPE), torch.sigmoid(draw(seed + 200 + i, SHAPE[0])))
        for i in range(count)
    ]


def naive_objective(sigma, taus, masks, thetas, l1, l2, local_shared=None):
    """The terms of (2) that earlier tasks enter, and with local_shared those of (3), term by term."""
    total = torch.zeros((), dtype=torch.float64)
    for i, (tau, mask, theta) in enumerate(zip(taus, masks, thetas, strict=True)):
        shared = local_shared[i] if local_shared else torch.zeros_like(tau)
        composed = sigma * mask.reshape(-1, 1, 1) + tau + shared
        total = total + l1 * tau.abs().sum() + l2 * ((theta - composed) ** 2).sum()
    return total


@given(seeds, weights, weights, st.floats(0, 3))
def test_closed_form_tau_minimises_the_naive_objective(seed, l1, l2, size):
    theta, sigma, mask = draw(seed, *SHAPE), draw(seed + 1, *SHAPE), torch.sigmoid(draw(seed + 2, SHAPE[0]))
    tau = closed_form_tau(theta, sigma, mask, l1, l2)
    best = naive_objective(sigma, [tau], [mask], [theta], l1, l2)
    for other in (tau + size * draw(seed + 3, *SHAPE), tau + 1e-3 * draw(seed + 4, *SHAPE), torch.zeros_like(tau)):
        assert best <= naive_objective(sigma, [other], [mask], [theta], l1, l2) + 1e-10


@given(seeds, weights, weights)
def test_closed_form_tau_leaves_no_element_further_than_its_knee(seed, l1, l2):
    theta, sigma, mask = draw(seed, *SHAPE), draw(seed + 1, *SHAPE), torch.sigmoid(draw(seed + 2, SHAPE[0]))
    moved = sigma * broadcast_mask(mask, 3) + closed_form_tau(theta, sigma, mask, l1, l2) - theta
    assert float(moved.abs().max()) <= l1 / (2 * l2) + 1e-12


@given(seeds, counts, weights, st.booleans())
def test_statistics_give_the_naive_penalty_and_gradient(seed, count, l2, clustered):
    tasks = earlier_tasks(seed, count)
    thetas, taus, masks = zip(*tasks, strict=True)
    local_shared = [draw(seed + 300 + i, *SHAPE) for i in range(count)] if clustered else None
    sigma = draw(seed + 400, *SHAPE).requires_grad_()
    naive = naive_objective(sigma, taus, masks, thetas, 0.0, l2, local_shared)
    (gradient,) = torch.autograd.grad(naive, sigma)
    own = [tau + local_shared[i] if local_shared else tau for i, tau in enumerate(taus)]
    statistics = DriftStatistics.of(zip(thetas, own, masks, strict=True))
    with torch.no_grad():
        torch.testing.assert_close(statistics.penalty(sigma, l2), naive, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(statistics.gradient(sigma, l2), gradient, rtol=1e-10, atol=1e-10)


@given(seeds, counts)
def test_the_statistics_minimiser_has_no_gradient(seed, count):
    statistics = DriftStatistics.of(earlier_tasks(seed, count))
    gradient = statistics.gradient(statistics.minimiser(), 1.0)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-10)


@given(seeds, counts, weights, weights)
def test_no_half_round_of_alternation_raises_the_objective(seed, count, l1, l2):
    thetas, taus, masks = zip(*earlier_tasks(seed, count), strict=True)
    sigma = draw(seed + 400, *SHAPE)
    values = [naive_objective(sigma, taus, masks, thetas, l1, l2)]
    for _ in range(3):
        taus = [closed_form_tau(theta, sigma, mask, l1, l2) for theta, mask in zip(thetas, masks, strict=True)]
        values.append(naive_objective(sigma, taus, masks, thetas, l1, l2))
        sigma = DriftStatistics.of(zip(thetas, taus, masks, strict=True)).minimiser()
        values.append(naive_objective(sigma, taus, masks, thetas, l1, l2))
    assert all(after <= before + 1e-9 for before, after in pairwise(values))


@given(seeds, counts, st.floats(-3, 3))
def test_sigma_median_leaves_the_least_to_the_taus(seed, count, size):
    thetas = torch.stack([draw(seed + i, *SHAPE) for i in range(count)])
    masks = torch.sigmoid(draw(seed + 50, count, SHAPE[0]))

    def left_over(sigma):
        return (thetas - sigma * masks.reshape(count, -1, 1, 1)).abs().sum(0)

    sigma = sigma_median(thetas, masks)
    for other in (sigma + size, sigma + 1e-3 * size, torch.zeros_like(sigma), thetas.mean(0)):
        assert bool((left_over(sigma) <= left_over(other) + 1e-10).all())
    exact = (thetas - sigma * masks.reshape(count, -1, 1, 1)).abs() < 1e-12
    assert bool(exact.any(0).all()), "at the median one task needs no tau"


@st.composite
def states(draw_from) -> tuple[TaskState, dict[str, Tensor]]:
    """A task, and another sigma that differs from its own in few places."""
    generator = torch.Generator().manual_seed(draw_from(seeds))
    shapes = {"conv.weight": (3, 2, 2, 1), "dense.weight": (4, 5)}
    sigma = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    tau = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    few = draw_from(st.floats(0, 1))
    masks = {name: 3 * torch.randn(shape[0], generator=generator) for name, shape in shapes.items()}
    sparse = {k: Sparse.from_dense(v * (torch.rand(v.shape, generator=generator) < few)) for k, v in tau.items()}
    moved = {
        name: value
        + torch.randn(value.shape, generator=generator) * (torch.rand(value.shape, generator=generator) < few)
        for name, value in sigma.items()
    }
    return TaskState("a", sigma, masks, sparse, {}, clusters={}, local_shared={}), moved


@given(states())
def test_re_expression_leaves_every_theta_to_float_rounding(case):
    task, moved = case
    again = re_express(task, moved)
    assert again.sigma is moved
    for name, theta in compose(task).items():
        size = theta.abs() + moved[name].abs() + task.sigma[name].abs()
        assert bool(((compose(again)[name] - theta).abs() <= 4e-7 * size).all())


@given(states())
def test_re_expression_touches_only_where_sigma_moved(case):
    task, moved = case
    again = re_express(task, moved)
    for name, before in task.tau.items():
        still = task.sigma[name] == moved[name]
        assert torch.equal(again.tau[name].to_dense()[still], before.to_dense()[still])
        assert not bool((again.tau[name].values == 0).any())


def test_re_expression_there_and_back_drops_what_cancels():
    sigma, away = {"w": torch.tensor([[1.0, 2.0]])}, {"w": torch.tensor([[1.5, 2.0]])}
    none = Sparse.zeros((1, 2))
    task = TaskState("a", sigma, {"w": torch.zeros(1)}, {"w": none}, {}, clusters={}, local_shared={})
    there = re_express(task, away)
    assert there.tau["w"].to_dense().tolist() == [[-0.25, 0.0]]
    assert re_express(there, sigma).tau["w"].nnz == 0


def test_re_expression_on_the_same_sigma_is_the_task_itself():
    task = TaskState("a", {}, {}, {}, {}, clusters={}, local_shared={})
    assert re_express(task, task.sigma) is task


def test_re_expression_names_the_parameter_whose_shape_differs():
    sigma = {"w": torch.zeros(1, 2)}
    task = TaskState("a", sigma, {"w": torch.zeros(1)}, {"w": Sparse.zeros((1, 2))}, {}, clusters={}, local_shared={})
    with pytest.raises(ShapeMismatch, match=r"sigma\['w'\] is \(2, 2\), task 'a' has \(1, 2\)"):
        re_express(replace(task), {"w": torch.zeros(2, 2)})
