import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from apd.consolidation.clustering import kmeans, starting_centres
from apd.consolidation.embedding import embed, gram
from apd.state import Sparse
from tests.consolidation.streams import sparse
from tests.consolidation.test_embedding import random_taus, seeds


@given(seeds, st.integers(2, 25), st.integers(1, 6))
def test_kmeans_on_the_gram_matrix_is_kmeans_on_the_dense_taus(seed: int, count: int, clusters: int) -> None:
    taus = random_taus(seed, count, density=0.7)
    rows = np.random.default_rng(seed).permutation(count)[: min(clusters, count)]
    points = embed(gram([Sparse.from_dense(tau) for tau in taus]))
    labels, inertia = kmeans(points, points[rows])
    dense = np.stack([tau.double().numpy().ravel() for tau in taus])
    twin = KMeans(len(rows), init=dense[rows], n_init=1, tol=0.0, max_iter=1000).fit(dense)
    np.testing.assert_array_equal(labels, twin.labels_)
    assert inertia == pytest.approx(twin.inertia_, rel=1e-9, abs=1e-9)


def test_start_is_the_previous_means_then_tasks_far_from_them() -> None:
    points = np.array([[0.0], [2.0], [10.0], [10.1], [500.0]])
    centres = starting_centres(points, previous=[[0, 1], [], [2, 3]], count=3, seed=[0])
    np.testing.assert_allclose(centres[:2], [[1.0], [10.05]])
    assert centres[2] == 500.0  # all but one part in 10^5 of the probability


def test_new_centres_are_drawn_in_proportion_to_the_squared_distance() -> None:
    points = np.array([[0.0], [1.0], [3.0]])
    drawn = [float(starting_centres(points, [[0]], 2, [seed])[1, 0]) for seed in range(2000)]
    assert drawn.count(0.0) == 0
    assert drawn.count(3.0) / 2000 == pytest.approx(0.9, abs=0.03)


@given(seeds, st.integers(1, 8))
def test_start_has_no_centre_twice(seed: int, count: int) -> None:
    points = embed(gram([sparse(1.0, 0.0), sparse(0.0, 1.0), sparse(1.0, 0.0), sparse(0.0, 1.0)]))
    centres = starting_centres(points, [[0], [2]], count, [seed])
    assert len(centres) == min(count, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels, inertia = kmeans(points, centres)
    assert len(set(labels)) == len(centres)
    assert count == 1 or inertia == pytest.approx(0.0, abs=1e-12)


def test_all_zero_taus_make_one_cluster() -> None:
    points = embed(gram([sparse(0.0, 0.0)] * 3))
    labels, inertia = kmeans(points, starting_centres(points, [], 2, [0]))
    assert labels.tolist() == [0, 0, 0]
    assert inertia == 0.0


def test_a_start_that_leaves_a_cluster_empty_is_handled() -> None:
    points = np.array([[0.0], [0.0], [1.0]])
    labels, inertia = kmeans(points, np.array([[0.0], [1.0], [50.0]]))
    assert inertia == pytest.approx(0.0)
    assert labels[0] == labels[1] != labels[2]
