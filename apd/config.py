"""Every setting of a stream, as frozen data: written once at `apd init`, stored with the stream, never retyped.

`to_json` and `from_json` are exact inverses; an unknown key, a wrong type or a value out of range is a ConfigError that
names the setting, the value found and what was expected.
"""

import dataclasses
import json
import operator
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, SupportsIndex, TypeVar

from apd.errors import ConfigError

T = TypeVar("T")
Variant = Literal["apd-fixed", "apd1", "apd2"]
Centre = Literal["mean", "mid-range"]
Dtype = Literal["uint8", "float32"]
Precision = Literal["float32", "bfloat16"]
SEEDS = 2**32
"""Seeds are whole numbers below this: numpy's generators tell them apart, and torch's what is made of them."""


def require(holds: bool, setting: str, found: object, expected: str) -> None:
    """Raise ConfigError naming the setting unless the condition holds."""
    if not holds:
        raise ConfigError(f"{setting} is {found!r} but must be {expected}")


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Which network a stream grows."""

    name: str = "lenet"
    """`mlp`, `lenet`, `resnet18`, or your own `module:callable`, called with (input_shape, classes, **arguments)."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the network, JSON values only."""

    def __post_init__(self) -> None:
        try:
            json.dumps(self.arguments, allow_nan=False)
        except (TypeError, ValueError) as error:
            require(False, "network.arguments", self.arguments, f"JSON values, and no NaN or infinity ({error})")
        built_in = self.name in ("mlp", "lenet", "resnet18")
        require(built_in or ":" in self.name, "network.name", self.name, "mlp, lenet, resnet18 or module:callable")


@dataclass(frozen=True, slots=True)
class LearningConfig:
    """How one arriving task is trained."""

    variant: Variant = "apd2"
    """apd-fixed: sigma held after the first task. apd1: sigma may move. apd2: as apd1, and taus are clustered."""

    capacity_per_task: float | None = 0.01
    """Budget of new non-zeros for one task, as a share of the P shared parameters. None: `sparsity` alone decides."""

    sparsity: float = 0.0
    """lambda_1, weight of the l1 norm of tau (the paper: 4e-4 to 6e-4)."""

    epochs: int = 20
    """Passes over the training split."""

    batch_size: int = 100
    """Samples per step."""

    learning_rate: float = 1e-3
    """Adam's step size in the first epoch."""

    learning_rate_decay: float = 0.95
    """The step size is multiplied by this after every epoch."""

    weight_decay: float = 0.01
    """Decoupled decay of tau and mask logits, and of sigma in the first task: every step multiplies them by
    1 - step size * this."""

    prune_from: float = 0.15
    """Share of the epochs after which tau begins to shrink towards its budget."""

    prune_until: float = 0.7
    """Share of the epochs after which tau has its final support; the rest refits the values."""

    tau_rate_exponent: float = 0.5
    """The step size of tau grows to density^-this, parameter by parameter, as its support shrinks: fewer elements have
    to go further each."""

    mask_rate: float = 10.0
    """Step size of the mask logits over that of the rest, from the second task on."""

    private_rate: float = 3.0
    """Step size of the private tensors (biases, normalisation, head) over that of the rest, from the second task on."""

    mask_start: float = 3.0
    """Initial mask logit v of a task that finds a sigma: it begins at sigmoid(3) = 0.95 of it. 0, at half, is better
    where tasks have data enough to learn more of their own, or a refit made sigma; figures in `apd.training`."""

    precision: Precision = "float32"
    """bfloat16: the network computes its training steps, and the accuracy after every epoch, in half precision where
    that is safe (torch's autocast); parameters, the optimiser and what is reported of a learned task stay float32. It
    takes a third of the time for convolutions on CPUs that have it. On a GPU float32 convolutions are computed in TF32,
    unless torch.backends.cudnn.allow_tf32 is off."""

    cuda_graphs: bool = False
    """On a GPU: record a training step once an epoch and replay it. The same is learned, unless the network draws lots
    in Python; it pays where starting a step's kernels takes longer than running them, and epochs have many steps: the
    first four are not replayed."""

    seed: int = 0
    """Seed of initial values, of the data order and of K-means; 0 <= seed < 2^32."""

    def __post_init__(self) -> None:
        budget = self.capacity_per_task
        require(budget is None or 0 < budget <= 1, "learning.capacity_per_task", budget, "in (0, 1] or null")
        require(self.sparsity >= 0, "learning.sparsity", self.sparsity, ">= 0")
        require(self.epochs >= 1, "learning.epochs", self.epochs, ">= 1")
        require(self.batch_size >= 1, "learning.batch_size", self.batch_size, ">= 1")
        require(self.learning_rate > 0, "learning.learning_rate", self.learning_rate, "> 0")
        require(self.tau_rate_exponent >= 0, "learning.tau_rate_exponent", self.tau_rate_exponent, ">= 0")
        require(self.mask_rate > 0, "learning.mask_rate", self.mask_rate, "> 0")
        require(self.private_rate > 0, "learning.private_rate", self.private_rate, "> 0")
        decay = self.learning_rate_decay
        require(0 < decay <= 1, "learning.learning_rate_decay", decay, "in (0, 1]")
        require(self.weight_decay >= 0, "learning.weight_decay", self.weight_decay, ">= 0")
        require(0 <= self.seed < SEEDS, "learning.seed", self.seed, "in 0..4294967295")
        require(0 <= self.prune_from <= 1, "learning.prune_from", self.prune_from, "in [0, 1]")
        require(
            self.prune_from <= self.prune_until <= 1, "learning.prune_until", self.prune_until, "in [prune_from, 1]"
        )


@dataclass(frozen=True, slots=True)
class ConsolidationConfig:
    """How taus are clustered into locally shared parameters."""

    consolidate_every: int = 5
    """s: tasks between two consolidations."""

    clusters_per_round: int = 2
    """k: clusters added at each consolidation."""

    tolerance: float = 1e-2
    """beta: largest spread of tau over a cluster's members at an element that is shared; no parameter moves further."""

    centre: Centre = "mid-range"
    """What a shared element becomes: the middle of the members' range (no parameter moves further than half the
    tolerance), or their mean (the paper's text)."""

    least_saving: int = 128
    """A cluster that saves fewer non-zeros than this at a parameter is not formed there: its shared values are an
    object of their own, some 500 bytes and a request whenever a member is loaded. 1 counts non-zeros alone."""

    max_accuracy_drop: float = 0.01
    """A consolidation that costs any task more validation accuracy than this is refused and kept aside."""

    tries: int = 3
    """A refused consolidation is tried again with a third of the tolerance, until there were so many."""

    refit: bool = False
    """The first consolidation, if it comes before 2 s tasks, learns sigma again from all of them together, and each of
    them anew within its budget, instead of clustering. It costs twice what the tasks cost, once. Later tasks gain where
    tasks resemble each other; the gate decides whether it is kept."""

    refit_epochs: int | None = None
    """Passes over all of their data by what learns sigma again; null: as many as over one task's. Fewer where tasks
    have much data of their own: a sigma that knows their samples by heart is little to start from (`apd.refit`)."""

    @property
    def tolerances(self) -> tuple[float, ...]:
        """Of each try, the largest first."""
        return tuple(dict.fromkeys(self.tolerance / 3**number for number in range(self.tries)))

    def __post_init__(self) -> None:
        require(self.consolidate_every >= 2, "consolidation.consolidate_every", self.consolidate_every, ">= 2")
        require(self.clusters_per_round >= 1, "consolidation.clusters_per_round", self.clusters_per_round, ">= 1")
        require(self.tolerance >= 0, "consolidation.tolerance", self.tolerance, ">= 0")
        require(self.least_saving >= 1, "consolidation.least_saving", self.least_saving, ">= 1")
        require(self.tries >= 1, "consolidation.tries", self.tries, ">= 1")
        drop = self.max_accuracy_drop
        require(0 <= drop <= 1, "consolidation.max_accuracy_drop", drop, "in [0, 1]")
        epochs = self.refit_epochs
        require(epochs is None or epochs >= 1, "consolidation.refit_epochs", epochs, ">= 1 or null")


@dataclass(frozen=True, slots=True)
class AcceptanceConfig:
    """What a trained task has to reach on its validation data before a version may have it.

    One that does not is refused: no version is made, and what was trained is kept aside until somebody decides.
    """

    min_accuracy: float | None = None
    """Least validation accuracy, in [0, 1]; null: none is demanded."""

    min_gain: float | None = None
    """Least validation accuracy beyond that of always answering the class that training has most of, in [0, 1]; 0.2
    means 20 points better than that; null: none is demanded."""

    def __post_init__(self) -> None:
        for name in ("min_accuracy", "min_gain"):
            value = getattr(self, name)
            require(value is None or 0 <= value <= 1, f"acceptance.{name}", value, "in [0, 1] or null")


@dataclass(frozen=True, slots=True)
class SplitConfig:
    """How a task without validation or test files is split."""

    validation: float = 0.15
    """Share of the training file kept for the gates, where a task brings no validation file."""

    test: float = 0.2
    """Share of the training file kept for the reported accuracy, where a task brings no test file."""

    seed: int = 0
    """Seed of the split; 0 <= seed < 2^32."""

    def __post_init__(self) -> None:
        require(0 < self.validation < 1, "split.validation", self.validation, "in (0, 1)")
        require(0 < self.test < 1, "split.test", self.test, "in (0, 1)")
        require(0 <= self.seed < SEEDS, "split.seed", self.seed, "in 0..4294967295")
        require(self.validation + self.test < 1, "split.validation + split.test", self.validation + self.test, "< 1")


@dataclass(frozen=True, slots=True)
class ResourceConfig:
    """What one training actor asks of the Ray cluster, and how many there are at a time."""

    num_cpus: float = 1.0
    """CPUs per actor; one torch thread each."""

    num_gpus: float = 0.0
    """GPUs per actor; fractions share one. A training computes on one: for several, ask for several workers."""

    memory: int | None = None
    """Bytes of memory per actor, or null."""

    custom: Mapping[str, float] = field(default_factory=dict)
    """Custom Ray resources per actor."""

    workers: int = 1
    """Actors that train one task together, each on its share of every batch; the result is that of one up to the order
    in which numbers are added. For tasks of many samples; each worker asks for all of the above, and holds the task's
    data as one actor would."""

    max_parallel: int = 1
    """Tasks that train at the same time when several wait; 1 learns them strictly one after another. It alone decides
    on which version a task is trained, so the outcome is the same on every cluster: too few nodes only take longer."""

    save_every: float = 20.0
    """Seconds of training after which an attempt is saved, at the end of the epoch."""

    data_in_memory: int = 2**30
    """Bytes of a task's inputs that are held in memory; those of a larger task are read from a temporary file on the
    node's disk (in TMPDIR), which must have room for all of them. Results do not depend on it."""

    def __post_init__(self) -> None:
        require(self.data_in_memory >= 0, "resources.data_in_memory", self.data_in_memory, ">= 0")
        require(self.workers >= 1, "resources.workers", self.workers, ">= 1")
        require(self.max_parallel >= 1, "resources.max_parallel", self.max_parallel, ">= 1")
        require(self.save_every >= 0, "resources.save_every", self.save_every, ">= 0")
        require(self.num_cpus > 0, "resources.num_cpus", self.num_cpus, "> 0")
        require(self.num_gpus >= 0, "resources.num_gpus", self.num_gpus, ">= 0")
        require(self.memory is None or self.memory > 0, "resources.memory", self.memory, "> 0 or null")


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """Everything a stream is created with."""

    input_shape: tuple[int, ...]
    """Shape of one input, channels first: (1, 28, 28), (3, 32, 32), (561,)."""

    input_dtype: Dtype = "uint8"
    """uint8 inputs are divided by 255; float32 inputs are taken as they are."""

    network: NetworkConfig = NetworkConfig()
    learning: LearningConfig = LearningConfig()
    acceptance: AcceptanceConfig = AcceptanceConfig()
    consolidation: ConsolidationConfig = ConsolidationConfig()
    split: SplitConfig = SplitConfig()
    resources: ResourceConfig = ResourceConfig()

    def __post_init__(self) -> None:
        sizes = self.input_shape
        require(bool(sizes) and all(size >= 1 for size in sizes), "input_shape", sizes, "one or more sizes >= 1")


def to_json(config: Any) -> dict[str, Any]:
    """A configuration as JSON values: nested objects, lists, numbers, strings, null."""
    values = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            value = to_json(value)
        elif isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, Mapping):
            value = dict(value)
        values[item.name] = value
    return values


def from_json(kind: type[T], values: Mapping[str, Any], place: str = "") -> T:
    """Build a configuration of this kind; every value is checked against its field's type."""
    require(isinstance(values, Mapping), place.rstrip(".") or "stream", values, "an object")
    hints = typing.get_type_hints(kind)
    known = {item.name for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"unknown setting {place}{unknown[0]}; {kind.__name__} has {', '.join(sorted(known))}")
    try:
        return kind(**{name: _convert(hints[name], value, f"{place}{name}") for name, value in values.items()})
    except TypeError as error:
        raise ConfigError(f"{place or 'stream'} settings are incomplete: {error}") from None


def _convert(hint: Any, value: Any, place: str) -> Any:
    if dataclasses.is_dataclass(hint):
        kind = typing.cast(type, hint)
        return value if isinstance(value, kind) else from_json(kind, value, f"{place}.")
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return None if value is None else _convert(choices[0], value, place)
    if origin is Literal:
        require(value in choices, place, value, f"one of {', '.join(map(str, choices))}")
        return value
    if origin is tuple:
        require(isinstance(value, list | tuple), place, value, "a list of numbers")
        return tuple(_convert(choices[0], item, place) for item in value)
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        require(number and abs(value) <= sys.float_info.max, place, value, "a finite number")
        return float(value)
    if hint is int:
        whole = isinstance(value, SupportsIndex) and not isinstance(value, bool)  # numpy's as well
        require(whole, place, value, "a whole number")
        return operator.index(value)
    plain = {bool: "true or false", str: "a string"}
    if hint in plain:
        require(isinstance(value, hint), place, value, plain[hint])
        return value
    if hint is Any:
        return value
    require(isinstance(value, Mapping), place, value, "an object")
    return {key: _convert(choices[1], item, f"{place}.{key}") for key, item in value.items()}
