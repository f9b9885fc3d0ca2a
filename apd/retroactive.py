"""What a new sigma means for the tasks learned before it.

The paper's objective for sigma and the earlier taus, given the thetas those tasks had (theta*_i):

    l1 sum_i |tau_i|_1 + l2 sum_i |theta*_i - (sigma * M_i + tau_i)|_2^2

has a closed form in tau (`closed_form_tau`), is a quadratic in sigma whose statistics do not grow with the number of
tasks (`DriftStatistics`), and at any useful l1/l2 is so stiff that theta_i does not move at all: then the update of the
earlier tasks is a change of coordinates (`re_express`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from apd.decomposition import broadcast_mask, unit_mask
from apd.errors import ShapeMismatch
from apd.prox import soft_threshold
from apd.state import Sparse, TaskState, Tensors


def closed_form_tau(theta: Tensor, sigma: Tensor, mask: Tensor, sparsity: float, drift: float) -> Tensor:
    """The tau_i of an earlier task for a given sigma.

        argmin_tau  l1 |tau|_1 + l2 |theta - sigma * mask - tau|_2^2
            =  soft_threshold(theta - sigma * mask, l1 / (2 l2))

    theta, sigma: the weight's shape. mask: (out,). sparsity is l1 >= 0, drift is l2 > 0.
    """
    return soft_threshold(theta - sigma * broadcast_mask(mask, sigma.ndim), sparsity / (2 * drift))


@dataclass(frozen=True, slots=True, eq=False)
class DriftStatistics:
    """The drift term of all earlier tasks as a function of sigma, in P + out + 1 numbers.

        l2 sum_i |r_i - sigma * M_i|^2  =  l2 ( sum A sigma^2 - 2 sum B sigma + constant ),    r_i = theta*_i - tau_i

    A = sum_i M_i^2 (out,), B = sum_i M_i r_i (the weight's shape), constant = sum_i |r_i|^2.
    """

    curvature: Tensor
    linear: Tensor
    constant: Tensor

    @classmethod
    def of(cls, tasks: Iterable[tuple[Tensor, Tensor, Tensor]]) -> "DriftStatistics":
        """Add up (theta*_i, tau_i, mask_i); at least one task."""
        curvature = linear = constant = torch.zeros(())
        for theta, tau, mask in tasks:
            rest = theta - tau
            curvature = curvature + mask.square()
            linear = linear + broadcast_mask(mask, rest.ndim) * rest
            constant = constant + rest.square().sum()
        return cls(curvature, linear, constant)

    def penalty(self, sigma: Tensor, drift: float) -> Tensor:
        """The value of the drift term, a scalar."""
        quadratic = broadcast_mask(self.curvature, sigma.ndim) * sigma.square() - 2 * self.linear * sigma
        return drift * (quadratic.sum() + self.constant)

    def gradient(self, sigma: Tensor, drift: float) -> Tensor:
        """Its gradient by sigma, in sigma's shape: 2 l2 (A sigma - B)."""
        return 2 * drift * (broadcast_mask(self.curvature, sigma.ndim) * sigma - self.linear)

    def minimiser(self) -> Tensor:
        """The sigma with the least drift, B / A."""
        return self.linear / broadcast_mask(self.curvature, self.linear.ndim)


def re_express(task: TaskState, sigma: Tensors) -> TaskState:
    """The same task relative to another sigma: theta_i as it was, to one float32 rounding.

        tau_i <- tau_i - (sigma - sigma_i) * M_i

    Only elements where the two sigmas differ are touched; those that cancel to zero are dropped.
    """
    if task.sigma is sigma:
        return task
    tau = {}
    for name, own in task.sigma.items():
        if sigma[name].shape != own.shape:
            found = f"{tuple(sigma[name].shape)}, task {task.name!r} has {tuple(own.shape)}"
            raise ShapeMismatch(f"sigma[{name!r}] is {found}")
        tau[name] = _shifted(task.tau[name], own, sigma[name], unit_mask(task.mask_logits[name]))
    return replace(task, sigma=sigma, tau=tau)


def _shifted(tau: Sparse, old: Tensor, new: Tensor, mask: Tensor) -> Sparse:
    """Tau - (new - old) * mask, added in float64 so that one rounding is all that is lost."""
    moved = (old != new).flatten().nonzero().flatten()
    rows = moved // (old.numel() // len(mask))
    step = (new.flatten()[moved].double() - old.flatten()[moved].double()) * mask[rows].double()
    indices, places = torch.unique(torch.cat([tau.indices, moved]), return_inverse=True)
    values = torch.zeros(len(indices), dtype=torch.float64)
    values.index_add_(0, places, torch.cat([tau.values.double(), -step]))
    rounded = values.float()
    kept = rounded != 0
    return Sparse(tau.shape, indices[kept], rounded[kept])


def sigma_median(theta: Tensor, masks: Tensor) -> Tensor:
    """The sigma that leaves the least to the taus when every theta is fixed, element by element.

        argmin_sigma  sum_i |theta_i - sigma * M_i|_1  =  weighted median of theta_i / M_i with weights M_i

    theta: (T, out, ...) of T tasks. masks: (T, out), positive. Returns (out, ...): the lower weighted median, so sigma
    equals some theta_i / M_i exactly and that tau_i is zero there.
    """
    weights = masks.reshape(*masks.shape, *[1] * (theta.ndim - 2)).expand_as(theta)
    ratios, order = (theta / weights).sort(dim=0)
    reached = weights.gather(0, order).cumsum(0) >= weights.sum(0) / 2
    return ratios.gather(0, reached.int().argmax(0, keepdim=True)).squeeze(0)
