"""Tasks as points: what K-means needs to know of P-dimensional sparse taus fits into t x t numbers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apd.state import Sparse

Floats = NDArray[np.float64]


def gram(taus: Sequence[Sparse]) -> Floats:
    """Inner products <tau_i, tau_j> over all elements: T taus of one shape -> (T, T), by one sparse product."""
    columns = np.concatenate([tau.indices.numpy() for tau in taus])
    values = np.concatenate([tau.values.numpy() for tau in taus]).astype(np.float64)
    bounds = np.cumsum([0, *(tau.nnz for tau in taus)])
    rows = sparse.csr_array((values, columns, bounds), shape=(len(taus), int(np.prod(taus[0].shape))))
    product: Floats = (rows @ rows.T).toarray()
    return product


def embed(products: Floats) -> Floats:
    """Points with these inner products: (T, T) -> (T, R), R <= T the numerical rank, at least 1.

    With the eigenvectors Q and eigenvalues L of the Gram matrix, the rows of Q sqrt(L) have the Gram matrix Q L Q' = G,
    so every distance between taus, and between means of taus, is kept. Eigenvalues at the level of rounding are noise.
    """
    eigenvalues, eigenvectors = np.linalg.eigh(products)
    floor = np.finfo(np.float64).eps * len(products) * max(float(eigenvalues[-1]), 0.0)
    kept = np.flatnonzero(eigenvalues > floor)
    if not len(kept):
        return np.zeros((len(products), 1))
    return np.asarray(eigenvectors[:, kept] * np.sqrt(eigenvalues[kept]))
