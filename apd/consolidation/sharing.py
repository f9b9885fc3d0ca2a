"""What the members of one cluster can share: element by element, only where the members agree and storage shrinks.

An element is decided by its own values alone, so a block of a parameter is dealt with like a whole one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from apd.config import Centre
from apd.consolidation.arrays import Indices, at, pack, without
from apd.consolidation.embedding import Floats
from apd.state import Sparse


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """What one cluster can share."""

    centres: Sparse
    """sigma_g at the elements that are shared, zeros included: there the members lose their taus as well."""
    moves: tuple[float, ...]
    """Largest absolute change of any element per member, in the order given."""
    saved: int
    """Non-zeros of the members' taus before, less those of taus and sigma_g afterwards."""


@dataclass(frozen=True, slots=True, eq=False)
class _Union:
    """The N elements at which at least one member is not zero, in increasing order."""

    indices: Indices
    count: Indices
    """How many members are not zero there."""
    low: Floats
    high: Floats
    mean: Floats
    """Over all members, those that are zero there included."""


def share(taus: Sequence[Sparse], tolerance: float, centre: Centre) -> Shared:
    """Which elements the members of a cluster share, and what they become there.

        where max_i tau_i - min_i tau_i <= tolerance:   sigma_g = centre of the tau_i,   tau_i = 0
        elsewhere:                                      sigma_g = 0,                     tau_i as it was

    taus: one or more, of one shape, without stored zeros. An element is shared only if that lowers the number of
    non-zeros: one (of sigma_g) in place of as many as there are members with a tau. So an element at which one member
    alone is not zero stays with it, and one at which all are zero is never looked at. No tau_i + sigma_g differs from
    the old tau_i by more than the spread, or half the spread with the mid-range as centre.
    """
    union = _union(taus)
    centres = (union.mean if centre == "mean" else (union.low + union.high) / 2).astype(np.float32)
    saved = union.count - (centres != 0)
    shared = (union.high - union.low <= tolerance) & (saved > 0)
    places, values = union.indices[shared], centres[shared]
    moves = tuple(float(np.abs(values - at(tau, places)).max(initial=0.0)) for tau in taus)
    agreed = Sparse(taus[0].shape, torch.from_numpy(places), torch.from_numpy(values))
    return Shared(agreed, moves, int(saved[shared].sum()))


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """What the members of a cluster that is formed have in common, of the whole parameter."""

    centres: Sparse
    """As in `Shared`."""
    local_shared: Sparse
    """sigma_g: the centres without the zeros."""

    def kept(self, tau: Sparse) -> Sparse:
        """What a member keeps of its full tau."""
        return without(tau, self.centres.indices.numpy())


def agreement(centres: Sparse) -> Agreement:
    """A cluster that is formed."""
    return Agreement(centres, pack(centres.shape, centres.indices.numpy(), centres.values.numpy()))


def _union(taus: Sequence[Sparse]) -> _Union:
    members = len(taus)
    indices = np.concatenate([tau.indices.numpy() for tau in taus])
    order = np.argsort(indices, kind="stable")
    values = np.concatenate([tau.values.numpy() for tau in taus]).astype(np.float64)[order]
    places, starts, count = np.unique(indices[order], return_index=True, return_counts=True)
    if not len(places):
        return _Union(places, count, values, values, values)
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    someone_zero = count < members
    low[someone_zero] = np.minimum(low[someone_zero], 0.0)
    high[someone_zero] = np.maximum(high[someone_zero], 0.0)
    return _Union(places, count, low, high, np.add.reduceat(values, starts) / members)
