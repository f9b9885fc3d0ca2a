"""Several processes that train one network on one task: each takes its share of every batch, all make the same step.

    cross-entropy over a batch  =  sum over workers of cross-entropy over their shares, each divided by |batch|

so the workers' gradients add up to the batch's. All start from the same tensors and step by the same sum: after every
step they hold the same bits, and one of them can speak for all. From the result of a single process theirs differs by
the order in which floating-point numbers are added, and by nothing else, with one exception:

dropout             each worker draws numbers of its own; the masks have the same distribution, not the same bits
batch normalisation takes its statistics, and their gradients, over the whole batch: `whole_batch`
other buffers       that `forward` moves are averaged over the workers after every epoch: `average`

The processes find each other outside: this speaks through torch.distributed's default group.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed
from torch.overrides import TorchFunctionMode

from apd.errors import WorkerLost
from apd.state import Tensors


@dataclass(frozen=True, slots=True)
class Team:
    """One worker's place among those that train together; alone, nothing is ever exchanged."""

    rank: int = 0
    """From 0."""
    size: int = 1
    """How many there are."""

    @property
    def leads(self) -> bool:
        """Whether this worker speaks for all."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """This worker's part of the rows (n, ...); parts differ by one row at most, and may be empty."""
        return rows if self.size == 1 else rows.tensor_split(self.size)[self.rank]

    def total(self, tensors: Tensors) -> Tensors:
        """Sums over the workers, in one exchange. Raises WorkerLost when a worker is gone."""
        if self.size == 1:
            return tensors
        flat = torch.cat([tensor.flatten() for tensor in tensors.values()])
        _add_up(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors.values()])
        return {
            key: part.view_as(tensor).to(tensor) for (key, tensor), part in zip(tensors.items(), parts, strict=True)
        }

    def sum(self, value: float) -> float:
        """Sum over the workers, exact for whole numbers. Raises WorkerLost when a worker is gone."""
        return value if self.size == 1 else float(self.total({"": torch.tensor([value], dtype=torch.float64)})[""])

    @torch.no_grad()
    def average(self, tensors: Tensors) -> None:
        """Replace floating-point tensors by their mean over the workers; float32 constants keep their bits."""
        moved = {key: tensor for key, tensor in tensors.items() if tensor.is_floating_point()}
        if self.size > 1 and moved:
            # three times a float32 number is a float64 number, but may not be a float32 one
            for key, total in self.total({key: tensor.double() for key, tensor in moved.items()}).items():
                moved[key].copy_(total / self.size)

    def whole_batch(self) -> AbstractContextManager[object]:
        """Within it, batch normalisation sees the whole batch instead of this worker's share."""
        return nullcontext() if self.size == 1 else _WholeBatch()


ALONE = Team()


def _add_up(tensor: Tensor) -> None:
    """Sum over the workers, in place."""
    try:
        distributed.all_reduce(tensor)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise WorkerLost(f"a worker of the team is gone, or its network: {error}") from error


class _Total(torch.autograd.Function):
    """Sum over the workers. Every worker's value enters every worker's loss, so gradients are summed as well."""

    @staticmethod
    def forward(_context: Any, value: Tensor) -> Tensor:
        total = value.clone()
        _add_up(total)
        return total

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> Tensor:
        return _Total.forward(None, gradients[0].contiguous())


class _WholeBatch(TorchFunctionMode):
    """Stands in for `functional.batch_norm` while training."""

    def __torch_function__(
        self, function: Any, _types: Sequence[type], arguments: tuple[Any, ...] = (), options: Any = None
    ) -> Any:
        if function is torch.nn.functional.batch_norm:
            function = _batch_norm
        return function(*arguments, **(options or {}))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """As `functional.batch_norm`, with mean and variance over all workers' samples; x is (n, channels, ...)."""
    if not training:
        return torch.nn.functional.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    dims, per_channel = [0, *range(2, x.ndim)], [1, -1, *[1] * (x.ndim - 2)]
    count = _Total.apply(wide.new_full((1,), x.numel() // x.shape[1]))  # type: ignore[no-untyped-call]
    mean = _Total.apply(wide.sum(dims)) / count  # type: ignore[no-untyped-call]
    centred = wide - mean.reshape(per_channel)
    variance = _Total.apply(centred.square().sum(dims)) / count  # type: ignore[no-untyped-call]
    with torch.no_grad():
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((variance * count / (count - 1)).to(running_var.dtype), momentum)
    result = centred * (variance + eps).rsqrt().reshape(per_channel)
    result = result if weight is None else result * weight.reshape(per_channel)
    result = result if bias is None else result + bias.reshape(per_channel)
    found: Tensor = result.to(x.dtype)
    return found
