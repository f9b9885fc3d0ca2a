"""Proximal operators: what sparsity means when an optimiser takes a step."""

import torch
from torch import Tensor


def soft_threshold(x: Tensor, threshold: float | Tensor) -> Tensor:
    """Proximal operator of the l1 norm.

        argmin_y  1/2 |y - x|_2^2 + |threshold * y|_1  =  sign(x) max(|x| - threshold, 0)

    x: any shape. threshold: same units as x, >= 0, broadcasts against x. Returns x's shape and dtype.
    Source: Parikh and Boyd, Proximal Algorithms, section 6.5.2.
    """
    return x - x.clamp(-_as_tensor(threshold, x), _as_tensor(threshold, x))


def preconditioned_threshold(weight: Tensor | float, second_moment: Tensor, rate: float, epsilon: float) -> Tensor:
    """The threshold at which an l1 term competes on equal terms with one step of Adam.

    Adam moves an element by rate / (sqrt(second_moment) + epsilon) times its gradient. In that diagonal metric H the
    proximal operator of weight * |y|_1,

        argmin_y  1/2 (y - x)' H (y - x) + |weight * y|_1,       H = (sqrt(second_moment) + epsilon) / rate,

    is soft_threshold(x, weight / H). A threshold of weight * rate instead would be lost beside Adam's normalised step.
    weight: lambda_1 times an element's cost, broadcasts. second_moment: bias-corrected, >= 0. Returns its shape.
    """
    return weight * rate / (second_moment.sqrt() + epsilon)


def _as_tensor(threshold: float | Tensor, like: Tensor) -> Tensor:
    return torch.as_tensor(threshold, dtype=like.dtype, device=like.device)
