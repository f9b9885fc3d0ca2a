import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from apd.config import LearningConfig
from apd.objective import carrier_cost, mask_gradient, penalty, price_gradient, sigma_carries

SHAPE = (4, 3, 2)

seeds = st.integers(0, 2**31)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rows(value: Tensor) -> Tensor:
    return value.reshape(-1, *[1] * (len(SHAPE) - 1))


def documented(step: Tensor, tau: Tensor, mask: Tensor, pull: Tensor, l1: float) -> Tensor:
    """The two l1 terms of the module's formula, with step = sigma - sigma_old."""
    return l1 * tau.abs().sum() + l1 * (rows(pull) * step).abs().sum()


@given(seeds, seeds, st.floats(0, 3))
def test_no_split_between_sigma_and_tau_is_cheaper_than_the_eliminated_penalty(seed, other, size):
    delta, mask, pull = draw(seed, *SHAPE), torch.sigmoid(draw(seed + 1, 4)), 3 * torch.rand(4, dtype=torch.float64)
    config = LearningConfig(sparsity=0.7)
    logits = torch.logit(mask)
    eliminated = penalty({"w": delta}, {"w": logits}, {"w": pull}, config)
    step = size * draw(other, *SHAPE)
    assert eliminated <= documented(step, delta - step * rows(mask), mask, pull, 0.7) + 1e-9
    carried = rows(sigma_carries(pull, mask, earlier=3, budgeted=False))
    own_step = (delta / rows(mask)).masked_fill(~carried, 0.0)
    own_tau = delta.masked_fill(carried, 0.0)
    torch.testing.assert_close(eliminated, documented(own_step, own_tau, mask, pull, 0.7))


@given(seeds)
def test_gradient_by_mask_logits_is_autograds(seed):
    sigma, by_theta, logits = draw(seed, *SHAPE), draw(seed + 1, *SHAPE), draw(seed + 2, 4).requires_grad_()
    theta = sigma * rows(torch.sigmoid(logits))
    (expected,) = torch.autograd.grad((theta * by_theta).sum(), logits)
    torch.testing.assert_close(mask_gradient(by_theta, sigma, torch.sigmoid(logits.detach())), expected)


@given(seeds)
def test_gradient_of_the_price_is_autograds(seed):
    delta, logits = draw(seed, *SHAPE), draw(seed + 1, 4).requires_grad_()
    pull = draw(seed + 2, 4).abs()
    mask = torch.sigmoid(logits.detach())
    assume(bool(((pull - mask).abs() > 1e-6).all()))
    config = LearningConfig(sparsity=0.3)
    (expected,) = torch.autograd.grad(penalty({"w": delta}, {"w": logits}, {"w": pull}, config), logits)
    torch.testing.assert_close(price_gradient(delta, mask, pull, 0.3), expected)


def test_where_sigma_is_held_tau_pays_the_full_price():
    delta, logits = {"w": torch.ones(2, 3)}, {"w": torch.zeros(2)}
    config = LearningConfig(sparsity=0.5)
    assert float(penalty(delta, logits, {}, config)) == pytest.approx(0.5 * 6)


def test_the_price_never_exceeds_taus_own():
    cost = carrier_cost(torch.tensor([0.1, 0.5, 7.0]), torch.tensor([0.2, 0.5, 0.9]))
    torch.testing.assert_close(cost, torch.tensor([0.5, 1.0, 1.0]))


def test_a_budget_counts_non_zeros():
    pull, mask = torch.tensor([0.1, 0.9]), torch.tensor([0.5, 0.5])
    assert sigma_carries(pull, mask, earlier=1, budgeted=True).tolist() == [True, False]
    assert sigma_carries(pull, mask, earlier=2, budgeted=True).tolist() == [False, False]
    assert sigma_carries(pull, mask, earlier=2, budgeted=False).tolist() == [True, False]
