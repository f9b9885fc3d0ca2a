"""What one arriving task minimises, term by term, and its gradients. The legend is in `apd.state`.

    minimise over sigma, tau_t, v_t, private_t

        cross-entropy(theta_t; D_t)                              mean over the task's samples
      + l1 |tau_t|_1                                             what the new task stores
      + l1 sum_{i<t} |M_i * (sigma - sigma_old)|_1               what moving sigma adds to the earlier tasks' taus

    theta_t = sigma * M_t + tau_t
    delta   = (sigma - sigma_old) * M_t + tau_t                  how far theta_t is from the masked sigma it came to

    subject to   |tau_t|_0 + (t - 1) |sigma - sigma_old|_0  <=  capacity_per_task * P

No earlier theta_i moves: tau_i <- tau_i - (sigma - sigma_old) * M_i makes room exactly (`apd.retroactive`), which is
why a step of sigma costs l1 * M_i, and one non-zero, in every earlier task. "apd-fixed" holds sigma = sigma_old.

**sigma can be eliminated.** Only delta reaches the cross-entropy, and for a given delta each element separates: moving
sigma alone costs l1 * W/M_t per unit of delta (W = sum_{i<t} M_i), tau alone costs l1, mixtures cost no less. So the
cheaper one carries the whole element, and what is left is one weighted l1 problem in delta:

        cross-entropy(sigma_old * M_t + delta; D_t) + l1 |min(1, W/M_t) * delta|_1

One tensor to optimise instead of two, and a step whose cost does not depend on t. Under a budget the price is counted
in stored non-zeros, t - 1 against 1: tau carries everything from the third task on, and pays l1 |delta|_1 in full; at
the tie (t = 2) l1 decides.

The paper adds weight_decay/2 (|tau_t|^2 + |v_t|^2), and |sigma|^2 for the first task. Here the same tensors (tau_t as
delta) decay beside the objective, by the optimiser; `apd.adam` says why.
"""

import torch
from torch import Tensor

from apd.config import LearningConfig
from apd.decomposition import broadcast_mask, unit_mask
from apd.state import Tensors


def carrier_cost(pull: Tensor, mask: Tensor) -> Tensor:
    """min(1, W/M): price of one unit of delta when the cheaper of sigma and tau carries it.

    pull: W, (out,), sum of the earlier tasks' masks. mask: M_t, (out,), positive.
    """
    return (pull / mask).clamp(max=1.0)


def penalty(delta: Tensors, mask_logits: Tensors, pull: Tensors, config: LearningConfig) -> Tensor:
    """The l1 term, after elimination of sigma; a scalar that autograd can differentiate.

    delta: tau_t as it is trained. pull: W per parameter; where it is absent sigma cannot carry.
    """
    prices = {name: delta_price(value, mask_logits[name], pull.get(name)) for name, value in delta.items()}
    return config.sparsity * torch.stack([(prices[name] * delta[name]).abs().sum() for name in delta]).sum()


def delta_price(delta: Tensor, mask_logits: Tensor, pull: Tensor | None) -> Tensor:
    """`carrier_cost` shaped to multiply delta; ones where sigma is held."""
    if pull is None:
        return torch.ones((), dtype=delta.dtype, device=delta.device)
    return broadcast_mask(carrier_cost(pull, unit_mask(mask_logits)), delta.ndim)


def mask_gradient(theta_gradient: Tensor, sigma: Tensor, mask: Tensor) -> Tensor:
    """Gradient of the cross-entropy by v_t, from its gradient by theta_t.

        d theta / d v  =  sigma * M (1 - M)      so      g_v[o] = M_o (1 - M_o) sum_e g_theta[o, e] sigma[o, e]

    theta_gradient, sigma: the weight's shape. mask: (out,). Returns (out,).
    """
    by_mask: Tensor = torch.linalg.vecdot(theta_gradient.flatten(1), sigma.flatten(1))
    return by_mask * mask * (1 - mask)


def price_gradient(delta: Tensor, mask: Tensor, pull: Tensor, sparsity: float) -> Tensor:
    """Gradient by v_t of l1 |min(1, W/M) * delta|_1: a wider mask makes sigma the cheaper carrier.

        g_v[o] = - l1 (W_o / M_o) (1 - M_o) sum_e |delta[o, e]|    where W_o < M_o,    0 elsewhere

    delta: the weight's shape. mask, pull: (out,). Returns (out,).
    """
    carried = (pull < mask).to(delta.dtype)
    return -sparsity * carried * pull / mask * (1 - mask) * delta.abs().flatten(1).sum(1)


def may_carry(earlier: int, budgeted: bool) -> bool:
    """Whether sigma can be the cheaper carrier at all; a budget counts `earlier` non-zeros against one of tau."""
    return not budgeted or earlier <= 1


def sigma_carries(pull: Tensor, mask: Tensor, earlier: int, budgeted: bool) -> Tensor:
    """(out,) bool: the output units whose delta is cheaper to store as a step of sigma than in tau_t.

    Without a budget the l1 price decides, W < M. With one the price is the number of non-zeros, `earlier` against 1,
    and W < M decides the tie.
    """
    cheaper = pull < mask
    return cheaper if may_carry(earlier, budgeted) else torch.zeros_like(cheaper)
