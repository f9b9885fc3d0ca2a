import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apd.consolidation.arrays import add
from apd.consolidation.embedding import embed, gram
from apd.state import Sparse
from tests.consolidation.streams import SHAPES, sparse

seeds = st.integers(0, 2**32 - 1)


def random_taus(seed: int, count: int, density: float = 0.4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = SHAPES["dense.weight"]
    taus = [torch.randn(shape, generator=generator) for _ in range(count)]
    return [tau * (torch.rand(shape, generator=generator) < density) for tau in taus]


@given(seeds, st.integers(1, 20), st.sampled_from([0.0, 0.1, 1.0]))
def test_gram_holds_the_inner_products(seed: int, count: int, density: float) -> None:
    taus = random_taus(seed, count, density)
    dense = torch.stack([tau.flatten() for tau in taus]).double()
    np.testing.assert_allclose(gram([Sparse.from_dense(tau) for tau in taus]), (dense @ dense.T).numpy(), atol=1e-12)


@given(seeds, st.integers(1, 20), st.sampled_from([0.0, 0.1, 1.0]))
def test_embedding_keeps_every_distance(seed: int, count: int, density: float) -> None:
    taus = random_taus(seed, count, density)
    points = embed(gram([Sparse.from_dense(tau) for tau in taus]))
    dense = torch.stack([tau.flatten() for tau in taus]).double()
    distances = ((points[:, None] - points[None]) ** 2).sum(-1)
    np.testing.assert_allclose(distances, (torch.cdist(dense, dense) ** 2).numpy(), atol=1e-10)
    assert 1 <= points.shape[1] <= count


def test_identical_taus_are_one_point() -> None:
    points = embed(gram([sparse(3.0, 0.0, -2.0)] * 5))
    assert points.shape == (5, 1)
    assert np.ptp(points) == pytest.approx(0.0, abs=1e-12)


@given(seeds)
def test_add_is_dense_addition_without_stored_zeros(seed: int) -> None:
    first, second = random_taus(seed, 2)
    second.flatten()[0] = -first.flatten()[0]
    total = add(Sparse.from_dense(first), Sparse.from_dense(second))
    assert torch.equal(total.to_dense(), first + second)
    assert total.nnz == int((first + second).count_nonzero())
