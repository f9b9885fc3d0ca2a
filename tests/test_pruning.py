from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apd.pruning import Schedule, largest, saliency


@given(st.integers(1, 60), st.floats(0.001, 1), st.floats(0, 1), st.floats(0, 1))
def test_density_only_falls_and_ends_at_the_budget(epochs, budget, one, other):
    schedule = Schedule.over(epochs, budget, min(one, other), max(one, other))
    densities = [schedule.density(epoch) for epoch in range(1, epochs + 1)]
    assert all(later <= earlier for earlier, later in pairwise(densities))
    assert densities[-1] == budget
    assert schedule.density(schedule.last) == budget


def test_density_follows_the_documented_cube():
    schedule = Schedule(budget=0.1, first=4, last=14)
    assert schedule.density(3) == 1.0
    assert schedule.density(4) == pytest.approx(0.5)
    assert schedule.density(9) == pytest.approx(0.1 + 0.4 * 0.5**3)
    assert schedule.density(14) == 0.1


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.integers(0, 30))
def test_largest_keeps_no_more_than_allowed_and_nothing_smaller_than_what_it_drops(values, count):
    saliency = {"a": torch.tensor(values[::2], dtype=torch.float32), "b": torch.tensor(values[1::2]).float()}
    kept = largest(saliency, count)
    flat = torch.cat([saliency["a"], saliency["b"]])
    ones = torch.cat([kept["a"], kept["b"]]).bool()
    assert int(ones.sum()) <= count
    assert not bool((flat[ones] == 0).any())
    if bool(ones.any()) and not bool(ones.all()):
        assert flat[ones].min() > flat[~ones].max()


def test_largest_ranks_all_parameters_together():
    kept = largest({"small": torch.tensor([0.1, 0.2]), "big": torch.tensor([[3.0, 0.15]])}, 2)
    assert kept["small"].tolist() == [0.0, 1.0]
    assert kept["big"].tolist() == [[1.0, 0.0]]


def test_what_the_loss_depends_on_outweighs_what_is_merely_large():
    tau, moments = torch.tensor([0.1, -0.2, 0.0]), torch.tensor([1.0, 1e-4, 1.0])
    torch.testing.assert_close(saliency(tau, moments), torch.tensor([0.1, 0.02, 0.0]))
    kept = largest({"few but felt": saliency(tau, moments)}, 1)["few but felt"]
    assert kept.tolist() == [1.0, 0.0, 0.0]
