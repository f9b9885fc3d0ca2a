"""Learning one task with APD.

    fit = Fit(network, "shoes", 5, data, arrival, config)
    for progress in fit.epochs():
        ...                               # print, save fit.snapshot(), or stop
    learned = fit.result()

What is minimised stands in `apd.objective`, how the epochs run in `apd.loop`.

Training that starts from trained weights ends lower than training from scratch where there is data enough (Ash and
Adams, On warm-starting neural network training, 2020). Starting at half of sigma, with masks that can go either way,
gives back a part of it. Validation accuracy, mask_start 0 instead of 3: CIFAR-100 Superclass, 1,800 pictures a task,
two orders, 66.7 instead of 66.0 % (separate networks 67.8); Omniglot-rotation, 624 pictures a task, on a sigma learned
from ten tasks in three orders, 79.9 instead of 78.0 %. Initial values as the first tau, at half, gained 0.4 points in
one order of the former and lost 1.0 in the other.
"""

from typing import Any

import torch
from torch import Tensor

from apd.adam import EPSILON, Group
from apd.config import LearningConfig
from apd.data import Samples, TaskData
from apd.decomposition import bare_state, broadcast_mask, unit_mask
from apd.loop import Loop, Progress, bare_accuracy, bare_logits, labelled, under
from apd.networks import Network
from apd.objective import delta_price, mask_gradient, may_carry, penalty, price_gradient, sigma_carries
from apd.prox import preconditioned_threshold, soft_threshold
from apd.pruning import Schedule, largest, saliency
from apd.state import Arrival, Learned, Snapshot, Sparse, TaskState, Tensors, sums_of
from apd.team import ALONE, Team

__all__ = ["Fit", "Progress", "Snapshot", "accuracy", "predict_logits"]

FIRST_MASK = 3.0
"""Initial mask logit of the first task. sigmoid(3) = 0.95: what it makes is nearly sigma itself."""


def predict_logits(network: Network, task: TaskState, inputs: Tensor, batch_size: int | None = None) -> Tensor:
    """Logits (N, classes) of a learned task for raw inputs (N, *input_shape), on the inputs' device."""
    return bare_logits(network, bare_state(task), inputs, batch_size)


def accuracy(network: Network, task: TaskState, split: Samples) -> float:
    """Share of the split that a learned task labels correctly, in [0, 1]."""
    return bare_accuracy(network, bare_state(task), split)


class Fit(Loop):
    """Learn one task: the objective of `apd.objective`, reached by Adam, a proximal step and gradual pruning.

    The first task trains sigma. Every later one trains tau as if sigma stood still (there: why that loses nothing) and
    hands to sigma, at the end, what is cheaper there. A step costs O(P), whatever the number of earlier tasks.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        classes: int,
        data: TaskData,
        arrival: Arrival,
        config: LearningConfig,
        *,
        device: str = "cpu",
        team: Team = ALONE,
    ) -> None:
        """data: at least one training sample. device: where to train; results are on the CPU. team: as for `Loop`."""
        spec, parameters = network.spec(classes), set(network.trainable(classes))
        there = {key: tensor.to(device) for key, tensor in network.initial(classes, config.seed).items()}
        self._arrival, self._size = arrival, spec.size
        self._base = {key: value.to(device) for key, value in (arrival.sigma or {}).items()}
        moves = config.variant != "apd-fixed" and may_carry(arrival.earlier, config.capacity_per_task is not None)
        self._pull = {key: value.to(device) for key, value in arrival.pull.items()} if moves else {}
        self._shared = {key: torch.zeros_like(there[key]) if self._base else there[key] for key in spec.shared}
        start = config.mask_start if self._base else FIRST_MASK
        self._logits = {key: there[key].new_full(shape[:1], start) for key, shape in spec.shared.items()}
        self._theta = {key: torch.empty_like(there[key]).requires_grad_() for key in spec.shared}
        private = parameters - set(spec.shared)
        self._private = {key: value.requires_grad_() for key, value in there.items() if key in private}
        self._buffers = {key: value for key, value in there.items() if key not in parameters}
        self._schedule = _schedule(config) if self._base else None
        self._support = {key: torch.ones_like(value) for key, value in self._shared.items()} if self._schedule else {}
        self._density: dict[str, float] = {}
        groups = (
            *(Group({f"shared/{key}": value}, config.weight_decay) for key, value in self._shared.items()),
            Group(labelled("mask_logits", self._logits), config.weight_decay),
            Group(labelled("private", self._private)),
        )
        super().__init__(network, name, data, config, groups, self._buffers, device, team)

    @torch.no_grad()
    def _network_tensors(self) -> dict[str, Tensor]:
        for key, theta in self._theta.items():
            mask = broadcast_mask(unit_mask(self._logits[key]), theta.ndim)
            if self._base:
                torch.addcmul(self._shared[key], self._base[key], mask, out=theta)
            else:
                torch.mul(self._shared[key], mask, out=theta)
        return {**self._theta, **self._private, **self._buffers}

    def _update(self, gradients: Tensors) -> None:
        by_leaf = {f"private/{key}": gradients[key] for key in self._private}
        for key in self._shared:
            by_leaf[f"shared/{key}"], by_leaf[f"mask_logits/{key}"] = self._chain(key, gradients[key])
        self._adam.step(by_leaf, self._rates())
        for key, support in self._support.items():
            self._shared[key] *= support
        if self.config.sparsity and self._base:
            for key in self._shared:
                self._shrink(key)

    def _rates(self) -> list[float]:
        """Step sizes of the groups: beside a sigma that stands still, masks and private tensors have further to go."""
        masks, private = (self.config.mask_rate, self.config.private_rate) if self._base else (1.0, 1.0)
        return [*map(self._tau_rate, self._shared), self._rate * masks, self._rate * private]

    def _tau_rate(self, key: str) -> float:
        """The step size of what is trained in place of sigma; it grows as the parameter's support shrinks."""
        return float(self._rate * self._density.get(key, 1.0) ** -self.config.tau_rate_exponent)

    def _chain(self, key: str, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """From the gradient by theta to that by tau (first task: sigma) and that by the mask logits."""
        shared, mask = self._shared[key], unit_mask(self._logits[key])
        by_logits = mask_gradient(gradient, self._base.get(key, shared), mask)
        if self._base and self.config.sparsity and key in self._pull:
            by_logits += price_gradient(shared, mask, self._pull[key], self.config.sparsity)
        return gradient if self._base else gradient * broadcast_mask(mask, shared.ndim), by_logits

    def _shrink(self, key: str) -> None:
        """The proximal step of the l1 term, in Adam's metric."""
        tau = self._shared[key]
        weight = self.config.sparsity * delta_price(tau, self._logits[key], self._pull.get(key))
        moment = self._adam.second_moment(f"shared/{key}")
        tau.copy_(soft_threshold(tau, preconditioned_threshold(weight, moment, self._tau_rate(key), EPSILON)))

    def _end_epoch(self) -> tuple[float, float]:
        if self._schedule and self._schedule.first <= self._epoch <= self._schedule.last:
            self._prune(int(self._schedule.density(self._epoch) * self._size))
        if not self._base:
            return 0.0, 0.0
        terms = float(penalty(self._shared, self._logits, self._pull, self.config)) if self.config.sparsity else 0.0
        return terms, sum(int(tau.count_nonzero()) for tau in self._shared.values()) / self._size

    def _prune(self, count: int) -> None:
        moments = {key: self._adam.second_moment(f"shared/{key}") for key in self._shared}
        scores = {key: saliency(tau, moments[key]) for key, tau in self._shared.items()}
        for key, kept in largest(scores, count).items():
            self._support[key].copy_(kept)
            self._shared[key] *= kept
        self._measure_density()

    def _measure_density(self) -> None:
        """The share of every parameter that may be non-zero, at least one element's."""
        for key, support in self._support.items():
            self._density[key] = max(int(support.count_nonzero()), 1) / support.numel()

    def restore(self, snapshot: Snapshot) -> None:
        """As for `Loop`."""
        super().restore(snapshot)
        self._measure_density()

    @property
    def _first_averaged(self) -> int:
        """Where there is a budget, after the last prune: the mean of several supports would be larger than any."""
        refits = min(self._schedule.last + 1, self.config.epochs) if self._schedule else 1
        return max(refits, super()._first_averaged)

    def _identity(self) -> dict[str, Any]:
        base = sums_of(self._arrival.sigma or {})
        return super()._identity() | {"earlier": self._arrival.earlier, "sums_of_sigma": base}

    def _resumable(self) -> dict[str, Tensor]:
        return super()._resumable() | {f"support/{key}": value for key, value in self._support.items()}

    def result(self) -> Learned:
        """The task as learned, relative to its own sigma; StateError before the last epoch."""
        mean = self._result_tensors()
        logits, private = under("mask_logits", mean), under("private", mean) | under("buffer", mean)
        # an l1 weight moves zeros from epoch to epoch; the last ones count, or the mean would be less sparse than any
        shared = {key: value * (self._shared[key] != 0).cpu() for key, value in under("shared", mean).items()}
        sigma, tau, step = self._split(shared, logits)
        task = TaskState(self.name, sigma, logits, tau, private, clusters={}, local_shared={})
        return Learned(task, step, self._validated(bare_state(task)))

    def _split(self, shared: Tensors, logits: Tensors) -> tuple[Tensors, dict[str, Sparse], dict[str, Sparse]]:
        """sigma, tau and the step of sigma: each output unit's change goes to whichever carries it for less."""
        none = {key: Sparse.zeros(tuple(value.shape)) for key, value in shared.items()}
        if self._arrival.sigma is None:
            return shared, none, none
        tau, step = {}, {}
        for key, delta in shared.items():
            mask = unit_mask(logits[key])
            pull = self._pull[key].cpu() if key in self._pull else torch.full_like(mask, torch.inf)
            budgeted = self._schedule is not None
            carried = broadcast_mask(sigma_carries(pull, mask, self._arrival.earlier, budgeted), delta.ndim)
            tau[key] = Sparse.from_dense(delta.masked_fill(carried, 0.0))
            step[key] = Sparse.from_dense((delta / broadcast_mask(mask, delta.ndim)).masked_fill(~carried, 0.0))
        if not any(part.nnz for part in step.values()):
            return self._arrival.sigma, tau, step
        return {key: part.add_to(self._arrival.sigma[key]) for key, part in step.items()}, tau, step


def _schedule(config: LearningConfig) -> Schedule | None:
    budget = config.capacity_per_task
    return None if budget is None else Schedule.over(config.epochs, budget, config.prune_from, config.prune_until)
