"""K-means over embedded tasks, started where the previous consolidation ended."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from apd.consolidation.embedding import Floats

Labels = NDArray[np.int32]

SAME_POINT = 1e-12
"""Squared distance over the largest squared norm at which two points are one; the embedding's rounding is smaller."""


def starting_centres(points: Floats, previous: Sequence[Sequence[int]], count: int, seed: Sequence[int]) -> Floats:
    """At most `count` different centres (K, R): the means of the previous clusters, then tasks far from all of them.

    previous: rows of the members of each earlier cluster; an empty one has no mean and is skipped.
    The further tasks are drawn as k-means++ draws: with probability proportional to the squared distance to the nearest
    centre so far. There are fewer than `count` centres when there are fewer different points.
    """
    floor = SAME_POINT * float((points**2).sum(axis=1).max())
    random = np.random.default_rng(seed)
    centres: list[Floats] = []
    nearest = np.full(len(points), np.inf)
    for mean in [points[list(members)].mean(axis=0) for members in previous if members][:count]:
        if all(((mean - centre) ** 2).sum() > floor for centre in centres):
            centres.append(mean)
            nearest = np.minimum(nearest, _distances(points, mean))
    while len(centres) < count and (nearest > floor).any():
        chosen = points[_draw(nearest, floor, random)]
        centres.append(chosen)
        nearest = np.minimum(nearest, _distances(points, chosen))
    return np.stack(centres)


def _distances(points: Floats, centre: Floats) -> Floats:
    distances: Floats = ((points - centre) ** 2).sum(axis=1)
    return distances


def _draw(nearest: Floats, floor: float, random: np.random.Generator) -> int:
    """A row, with probability proportional to its squared distance to the nearest centre; any row before the first."""
    if np.isinf(nearest).all():
        return int(random.integers(len(nearest)))
    weights = np.where(nearest > floor, nearest, 0.0)
    return int(random.choice(len(nearest), p=weights / weights.sum()))


def kmeans(points: Floats, centres: Floats) -> tuple[Labels, float]:
    """Lloyd's algorithm from these centres until no label changes: the cluster of each point (T,), and the inertia.

    The inertia is the sum of squared distances of the points to their cluster's mean. A cluster may end up empty.
    """
    # scikit-learn takes as long to import as torch, and whoever learns imports this module: only a consolidation pays
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    model = KMeans(len(centres), init=centres, n_init=1, max_iter=1000, tol=0.0, algorithm="lloyd")
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer clusters than asked for are an answer here
        model.fit(points)
    return model.labels_, float(model.inertia_)
