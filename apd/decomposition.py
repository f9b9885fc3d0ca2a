"""theta_t = sigma * M_t + sigma_g(t) + tau_t, on named tensors of any network. The legend is in `apd.state`."""

import torch
from torch import Tensor

from apd.errors import ShapeMismatch
from apd.state import Arrival, Spec, TaskState, Tensors


def broadcast_mask(mask: Tensor, ndim: int) -> Tensor:
    """(out,) -> (out, 1, ..., 1) with `ndim` dimensions, to multiply a weight whose dimension 0 is its output unit."""
    return mask.reshape(-1, *[1] * (ndim - 1))


def unit_mask(mask_logits: Tensor) -> Tensor:
    """sigmoid(v), (out,), the same bits on every processor: in float32 the last one depends on its vector instructions.

    Theta's digest does not, then, so that a node knows what another has measured.
    """
    return torch.sigmoid(mask_logits.double()).to(mask_logits.dtype)


def masked(sigma: Tensor, mask_logits: Tensor) -> Tensor:
    """Sigma * sigmoid(v): sigma's shape, mask_logits (out,)."""
    return sigma * broadcast_mask(unit_mask(mask_logits), sigma.ndim)


def compose(task: TaskState) -> dict[str, Tensor]:
    """theta_t: every shared parameter of the task's own network, sigma's shapes and dtype."""
    theta = {}
    for name, sigma in task.sigma.items():
        value = task.tau[name].add_to(masked(sigma, task.mask_logits[name]))
        theta[name] = task.local_shared[name].add_to(value) if name in task.local_shared else value
    return theta


def bare_state(task: TaskState) -> dict[str, Tensor]:
    """The state dict of the bare network that this task is: theta and the private tensors."""
    return compose(task) | dict(task.private)


def add_masks(pull: Tensors, mask_logits: Tensors) -> dict[str, Tensor]:
    """W + M per output unit: the sums with one more task's masks; empty sums are zero."""
    return {name: pull.get(name, 0.0) + unit_mask(logits) for name, logits in mask_logits.items()}


def arrive(arrival: Arrival, task: TaskState, sigma: Tensors) -> Arrival:
    """What the next task meets after one more task: O(P), whatever the number of tasks; sigma is the newest one."""
    return Arrival(sigma, add_masks(arrival.pull, task.mask_logits), arrival.earlier + 1)


def check_spec(spec: Spec, task: TaskState) -> None:
    """Raise ShapeMismatch unless the task's tensors are those the network has."""
    for name, shape in spec.shared.items():
        found = tuple(task.sigma[name].shape) if name in task.sigma else None
        if found != tuple(shape):
            raise ShapeMismatch(
                f"sigma[{name!r}] of task {task.name!r} is {found} but the network expects {tuple(shape)}; "
                "was the network changed after the stream was created?"
            )
