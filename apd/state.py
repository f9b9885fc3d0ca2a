"""What a stream has learned, as pure data: no file, no network code, no training.

    theta_t = sigma * mask_t + local_shared_g(t) + tau_t          mask_t = sigmoid(mask_logits_t)

    symbol      name            meaning                                              shape
    sigma       sigma           task-shared parameters                               the weight's own
    v_t, M_t    mask_logits     which output units of sigma the task attends to      (out,), broadcast over the rest
    tau_t       tau             the task's sparse own parameters                     the weight's own, few non-zeros
    sigma_g     local_shared    sparse parameters shared by the cluster g(t)         the weight's own, few non-zeros
    -           private         biases, normalisation, buffers, the head             as in the network

Every dictionary is keyed by the parameter's name in the network (`conv1.weight`). "out" is dimension 0.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from apd.errors import ShapeMismatch, StateError

Tensors = Mapping[str, Tensor]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Sparse:
    """A tensor with few non-zeros: strictly increasing row-major flat indices and their values."""

    shape: Shape
    indices: Tensor
    """(n,) int64."""
    values: Tensor
    """(n,) float32."""

    def __post_init__(self) -> None:
        indices, size = self.indices, math.prod(self.shape)
        if indices.ndim != 1 or self.values.shape != indices.shape:
            raise ShapeMismatch(f"sparse indices {tuple(indices.shape)} and values {tuple(self.values.shape)} differ")
        if indices.dtype != torch.int64 or self.values.dtype != torch.float32:
            raise StateError(f"sparse tensors are int64 and float32, found {indices.dtype} and {self.values.dtype}")
        increasing = bool((indices.diff() > 0).all())
        if len(indices) and not (increasing and int(indices[0]) >= 0 and int(indices[-1]) < size):
            raise StateError(f"sparse indices must increase strictly within 0..{size - 1} for shape {self.shape}")

    @classmethod
    def from_dense(cls, dense: Tensor) -> "Sparse":
        """Keep the non-zeros of a tensor of any shape."""
        flat = dense.detach().to("cpu", torch.float32).flatten()
        indices = flat.nonzero().flatten()
        return cls(tuple(dense.shape), indices, flat[indices].clone())

    @classmethod
    def zeros(cls, shape: Shape) -> "Sparse":
        """No non-zeros at all."""
        return cls(tuple(shape), torch.zeros(0, dtype=torch.int64), torch.zeros(0))

    @property
    def nnz(self) -> int:
        """Number of stored values."""
        return len(self.indices)

    def add_to(self, dense: Tensor) -> Tensor:
        """A new tensor: `dense` (this shape, any device) plus this one."""
        flat = dense.flatten().clone()
        flat[self.indices.to(flat.device)] += self.values.to(flat)
        return flat.reshape(self.shape)

    def to_dense(self) -> Tensor:
        """float32, this shape."""
        return self.add_to(torch.zeros(self.shape))


SparseTensors = Mapping[str, Sparse]


@dataclass(frozen=True, slots=True)
class Spec:
    """Which of a network's tensors are shared through sigma, and which are private to a task."""

    shared: Mapping[str, Shape]
    """Decomposed parameters: two or more dimensions, not the head."""
    private: Mapping[str, tuple[Shape, str]]
    """Shape and dtype ("float32") of every other parameter and buffer but the head."""
    head: Mapping[str, Shape]
    """The tensors whose shape depends on the number of classes; private too."""

    @property
    def size(self) -> int:
        """P, the number of shared parameters."""
        return sum(math.prod(shape) for shape in self.shared.values())


@dataclass(frozen=True, slots=True, eq=False)
class TaskState:
    """One learned task: all that its parameters depend on."""

    name: str
    sigma: Tensors
    """The sigma this task is relative to; tasks share one object where they share one sigma."""
    mask_logits: Tensors
    tau: SparseTensors
    private: Tensors
    clusters: Mapping[str, int]
    """Cluster of the task per parameter; a parameter that is not listed is in none."""
    local_shared: SparseTensors
    """sigma_g of those clusters, same keys as `clusters`."""

    def __post_init__(self) -> None:
        if set(self.local_shared) != set(self.clusters):
            raise StateError(
                f"task {self.name!r} has clusters {set(self.clusters)} but sigma_g {set(self.local_shared)}"
            )
        for label, tensors in (("mask_logits", self.mask_logits), ("tau", self.tau)):
            if set(tensors) != set(self.sigma):
                raise StateError(f"{label} of task {self.name!r} has {sorted(tensors)}, sigma has {sorted(self.sigma)}")
        for name, shared in self.sigma.items():
            self._check_shape("mask_logits", name, tuple(self.mask_logits[name].shape), tuple(shared.shape[:1]))
            self._check_shape("tau", name, self.tau[name].shape, tuple(shared.shape))
            if name in self.local_shared:
                self._check_shape("local_shared", name, self.local_shared[name].shape, tuple(shared.shape))

    def _check_shape(self, label: str, name: str, found: Shape, expected: Shape) -> None:
        if found != expected:
            raise ShapeMismatch(f"{label}[{name!r}] of task {self.name!r} is {found}, sigma asks for {expected}")


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """What a new task needs to know of all earlier ones: of fixed size, whatever their number."""

    sigma: Tensors | None
    """The newest sigma; None when this is the first task."""
    pull: Tensors
    """W, (out,) per shared parameter: sum over earlier tasks of their masks, the l1 pull on sigma. Empty at first."""
    earlier: int
    """t - 1, the number of earlier tasks."""


FIRST = Arrival(sigma=None, pull={}, earlier=0)


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """Outcome of training one task."""

    task: TaskState
    """Relative to its own sigma: the one it arrived at plus `sigma_step`."""
    sigma_step: SparseTensors
    """How this task moves the shared sigma; for the first task all zero (its sigma is new)."""
    validation_accuracy: float
    """In [0, 1]."""


@dataclass(frozen=True, slots=True)
class Clustering:
    """Which tasks the K-means of one consolidation put together; the next one starts from it."""

    rounds: int
    """Consolidations so far; K = rounds * clusters_per_round."""
    members: Mapping[str, tuple[tuple[str, ...], ...]]
    """Per parameter, the task names of each cluster; `TaskState.clusters` counts along these."""

    def to_json(self) -> dict[str, Any]:
        """JSON values: numbers, lists, strings."""
        members = {name: [list(names) for names in clusters] for name, clusters in self.members.items()}
        return {"rounds": self.rounds, "members": members}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Clustering":
        """The inverse of `to_json`."""
        members = {name: tuple(map(tuple, clusters)) for name, clusters in values["members"].items()}
        return cls(values["rounds"], members)


UNCLUSTERED = Clustering(rounds=0, members={})


@dataclass(frozen=True, slots=True)
class ParameterReport:
    """What one consolidation did to one shared parameter."""

    members: tuple[tuple[str, ...], ...]
    """Task names of each cluster that is formed: it has two members or more and shares at least one element."""
    inertia: float | None
    """Sum of squared distances of the full taus to their cluster's mean; None where the earlier clusters stay."""
    refused: int
    """Clusters of two or more that were not formed because they save too little; their members have none."""
    tau_before: int
    """Non-zeros of all taus on the new sigma, before clusters changed."""
    tau_after: int
    """Non-zeros of all taus now."""
    local_shared_before: int
    """Non-zeros of the earlier sigma_g's."""
    local_shared_after: int
    """Non-zeros of the sigma_g's now: the elements that are shared, summed over the clusters."""
    moves: Mapping[str, float]
    """Largest absolute change of any element of theta per task, where it is not zero."""


@dataclass(frozen=True, slots=True, eq=False)
class Regrouping:
    """What one consolidation decided: everything but the tensors."""

    clustering: Clustering
    """Hand it to the next consolidation."""
    tolerance: float
    """Largest spread of taus that was shared."""
    tau_stored: int
    """Non-zeros of all taus as they were given, each relative to its own sigma."""
    sigma_moved: int
    """Elements of the newest sigma that went back to an earlier value because that needs fewer taus."""
    report: Mapping[str, ParameterReport]
    """Per shared parameter."""
    refit: bool = field(default=False, kw_only=True)
    """Whether sigma and all tasks were learned again (`apd.refit`), instead of taus clustered."""

    @property
    def largest_move(self) -> float:
        """Largest absolute change of any parameter of any task."""
        return max((move for part in self.report.values() for move in part.moves.values()), default=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Consolidation(Regrouping):
    """Outcome of one consolidation."""

    tasks: tuple[TaskState, ...]
    """Every task, in the order given, all relative to `sigma`, which is one object."""
    sigma: Tensors
    """The sigma from which the next task starts."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A training attempt between two epochs: tensors for safetensors, values for JSON, nothing else."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


def sums_of(tensors: Tensors) -> dict[str, float]:
    """What tells in a snapshot which tensors it began from; of tensors on the CPU: a GPU adds up in another order."""
    return {name: float(tensor.double().sum()) for name, tensor in tensors.items()}


def require_agreement(expected: Mapping[str, Any], found: Mapping[str, Any], of: str) -> None:
    """Raise StateError unless a snapshot's values are those of what goes on from it (`of`: such as "task 'shoes'")."""
    for key, value in expected.items():
        if found.get(key) != value:
            raise StateError(f"the attempt at {of} has {key} {found.get(key)!r}, expected {value!r}: start it afresh")


@torch.no_grad()
def take_over(own: Tensors, snapshot: Tensors, of: str) -> None:
    """Copy a snapshot's values into the live tensors; what it has under `mean` aside, both must be of the same form."""
    found = {name: value for name, value in snapshot.items() if not name.startswith("mean/")}
    odd = sorted(set(own) ^ set(found))
    if odd:
        raise StateError(f"the attempt at {of} and the network differ in {odd[0]!r}: start it afresh")
    for key, tensor in own.items():
        if tensor.shape != found[key].shape:
            shapes = f"{tuple(found[key].shape)}, expected {tuple(tensor.shape)}"
            raise StateError(f"{key!r} of the attempt at {of} is {shapes}: start it afresh")
    for key, tensor in own.items():
        tensor.copy_(found[key])
