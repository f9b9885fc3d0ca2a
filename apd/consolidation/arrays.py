"""Arithmetic of sparse taus on their index and value arrays; nothing here is of size P."""

import numpy as np
import torch
from numpy.typing import NDArray

from apd.state import Shape, Sparse

Indices = NDArray[np.int64]
Values = NDArray[np.float32]


def pack(shape: Shape, indices: Indices, values: Values) -> Sparse:
    """A sparse tensor of the values that are not zero; indices strictly increasing."""
    kept = values != 0
    return Sparse(shape, torch.from_numpy(indices[kept]), torch.from_numpy(values[kept]))


def add(first: Sparse, second: Sparse) -> Sparse:
    """Sum of two of one shape, rounded once; elements that cancel are dropped."""
    indices = np.concatenate([first.indices.numpy(), second.indices.numpy()])
    values = np.concatenate([first.values.numpy(), second.values.numpy()])
    places, element = np.unique(indices, return_inverse=True)
    total = np.bincount(element, weights=values, minlength=len(places)).astype(np.float32)
    return pack(first.shape, places, total)


def at(tau: Sparse, places: Indices) -> Values:
    """Values of tau at these increasing flat indices, zero where it has none."""
    values = np.zeros(len(places), np.float32)
    _, mine, theirs = np.intersect1d(tau.indices.numpy(), places, assume_unique=True, return_indices=True)
    values[theirs] = tau.values.numpy()[mine]
    return values


def without(tau: Sparse, places: Indices) -> Sparse:
    """Tau with zero at these places."""
    indices = tau.indices.numpy()
    kept = ~np.isin(indices, places, assume_unique=True)
    return pack(tau.shape, indices[kept], tau.values.numpy()[kept])
