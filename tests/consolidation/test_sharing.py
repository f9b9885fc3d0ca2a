import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from apd.config import Centre
from apd.consolidation.sharing import agreement, share
from apd.state import Sparse
from tests.consolidation.streams import sparse

TOLERANCE = 0.01
lattices = st.integers(1, 6).flatmap(
    lambda members: st.lists(
        st.lists(st.integers(-3, 3).map(lambda level: 0.004 * level), min_size=6, max_size=6),
        min_size=members,
        max_size=members,
    )
)
centres = st.sampled_from(["mean", "mid-range"])


def naive(taus: Tensor, centre: Centre) -> tuple[Tensor, Tensor]:
    """sigma_g and the kept taus of dense taus (members, elements), element by element."""
    local_shared, kept = torch.zeros(taus.shape[1]), taus.clone()
    for element, column in enumerate(taus.double().T):
        spread = column.max() - column.min()
        value = (column.mean() if centre == "mean" else (column.max() + column.min()) / 2).float()
        if spread <= TOLERANCE and int(value != 0) < int(column.count_nonzero()):
            local_shared[element] = value
            kept[:, element] = 0
    return local_shared, kept


@given(lattices, centres)
def test_sharing_is_the_rule_element_by_element(rows: list[list[float]], centre: Centre) -> None:
    taus = torch.tensor(rows)
    local_shared, kept = naive(taus, centre)
    members = [Sparse.from_dense(row) for row in taus]
    agreed = agreement(share(members, TOLERANCE, centre).centres)
    torch.testing.assert_close(agreed.local_shared.to_dense(), local_shared, rtol=0, atol=1e-8)
    assert torch.equal(torch.stack([agreed.kept(tau).to_dense() for tau in members]), kept)


@given(lattices, centres)
def test_bound_and_capacity(rows: list[list[float]], centre: Centre) -> None:
    taus = torch.tensor(rows)
    members = [Sparse.from_dense(row) for row in taus]
    outcome = share(members, TOLERANCE, centre)
    agreed = agreement(outcome.centres)
    kept = [agreed.kept(tau) for tau in members]
    moves = (torch.stack([tau.to_dense() for tau in kept]) + agreed.local_shared.to_dense() - taus).abs().amax(1)
    torch.testing.assert_close(torch.tensor(outcome.moves), moves, rtol=0, atol=1e-8)
    assert float(moves.max()) <= TOLERANCE * (1.0 if centre == "mean" else 0.5) + 1e-8
    after = agreed.local_shared.nnz + sum(tau.nnz for tau in kept)
    assert outcome.saved == int(taus.count_nonzero()) - after
    assert (outcome.saved > 0) == (outcome.centres.nnz > 0)


def test_an_element_of_one_member_stays_with_it() -> None:
    assert share([sparse(0.005, 0.0), sparse(0.0, 0.0), sparse(0.0, 0.0)], TOLERANCE, "mean").centres.nnz == 0


def test_members_without_the_element_count_as_zero() -> None:
    outcome = share([sparse(0.008), sparse(0.007), sparse(0.0)], TOLERANCE, "mean")
    assert outcome.centres.to_dense().item() == pytest.approx(0.005)
    assert outcome.moves == pytest.approx((0.003, 0.002, 0.005))
    assert share([sparse(0.018), sparse(0.017), sparse(0.0)], TOLERANCE, "mean").saved == 0


def test_a_centre_of_zero_costs_nothing() -> None:
    members = [sparse(0.004), sparse(-0.004)]
    outcome = share(members, TOLERANCE, "mid-range")
    agreed = agreement(outcome.centres)
    assert (outcome.saved, agreed.local_shared.nnz) == (2, 0)
    assert [agreed.kept(tau).nnz for tau in members] == [0, 0]


def test_mid_range_has_the_smallest_largest_move_and_the_mean_the_smallest_squared_move() -> None:
    taus = [sparse(0.020), sparse(0.020), sparse(0.020), sparse(0.029)]
    mean, mid_range = share(taus, TOLERANCE, "mean"), share(taus, TOLERANCE, "mid-range")
    assert max(mid_range.moves) == pytest.approx(0.0045)
    assert max(mean.moves) == pytest.approx(0.00675)
    assert sum(move**2 for move in mean.moves) < sum(move**2 for move in mid_range.moves)


def test_tolerance_zero_shares_equal_values_only() -> None:
    outcome = share([sparse(0.5, 0.25), sparse(0.5, 0.26)], 0.0, "mean")
    assert outcome.centres.to_dense().tolist() == [0.5, 0.0]
    assert outcome.moves == (0.0, 0.0)
