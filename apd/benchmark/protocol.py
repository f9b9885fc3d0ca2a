"""What a benchmark compares: methods that meet the same tasks with the same network and budget, in several orders.

benchmark   a stream of tasks by name (`apd.data.official`)
protocol    what all cells share: tasks, network, training, consolidation
cell        one method, one order of arrival, one seed: the unit of work, and of what is kept when work is killed
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from apd.config import SEEDS, ConsolidationConfig, LearningConfig, NetworkConfig, from_json, require
from apd.data.official import BENCHMARKS, ORDERS
from apd.errors import ConfigError

VARIANTS = ("apd-fixed", "apd1", "apd2")
BASELINES = ("stl", "mtl", "finetuning", "ewc")
METHODS = (*VARIANTS, *BASELINES)

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "digits": {
        "network": {"name": "mlp", "arguments": {"hidden": [512, 256]}},
        "learning": {"epochs": 30, "batch_size": 32, "learning_rate": 1e-2},
        "consolidation": {"tolerance": 0.1},
        "ewc_stiffness": 1e3,
    },
    "omniglot-rotation": {
        "network": {"name": "lenet", "arguments": {"widths": [64, 128, 2500, 1500]}},
        "learning": {"mask_start": 0.0},
        # a drop of 0.1 is nine of the 96 pictures to validate on; of ten tasks one may lose four by chance
        "consolidation": {"consolidate_every": 10, "refit": True, "max_accuracy_drop": 0.1},
        "ewc_stiffness": 1e5,
    },
    "cifar100-split": {},
    "cifar100-superclass": {
        "learning": {"mask_start": 0.0},
        "consolidation": {"consolidate_every": 10, "refit": True, "refit_epochs": 8, "max_accuracy_drop": 0.1},
    },
    "permuted-mnist": {"network": {"name": "mlp"}, "learning": {"epochs": 10, "mask_start": 0.0}},
    "fashion-mnist-split": {"learning": {"epochs": 10}},
    "five-datasets": {"network": {"name": "resnet18", "arguments": {"width": 20}}, "learning": {"epochs": 5}},
}
"""What a benchmark has other than the defaults: the paper's networks, fewer epochs where there is far more data, and
what validation data preferred."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """What all cells of a benchmark share."""

    benchmark: str
    """Name of the stream."""

    tasks: int | None = None
    """Only the first tasks of its natural order."""

    legacy_layout: bool = False
    """CIFAR-100 scrambled as in published tables."""

    ewc_stiffness: float = 1e4
    """Weight of EWC's pull to earlier parameters. Chosen on validation data, each benchmark's own: mean accuracy there
    after all digits tasks (five orders) 0.911 at 1e2, 0.935 at 1e3, 0.922 at 1e4, 0.905 at 1e5; after eight tasks of
    omniglot-rotation (the README's LeNet, orders A and B) 0.443 at 1e2, 0.479 at 1e3, 0.486 at 1e4, 0.490 at 1e5; after
    six of cifar100-superclass (orders A and B) 0.499 at 1e3, 0.512 at 1e4, 0.495 at 1e5."""

    network: NetworkConfig = field(default_factory=NetworkConfig)

    learning: LearningConfig = field(default_factory=LearningConfig)
    """The cell decides on `variant` and `seed`, and a method's budget on `capacity_per_task`."""

    consolidation: ConsolidationConfig = field(default_factory=ConsolidationConfig)

    def __post_init__(self) -> None:
        require(self.benchmark in BENCHMARKS, "benchmark", self.benchmark, f"one of {', '.join(BENCHMARKS)}")
        require(self.tasks is None or self.tasks >= 1, "tasks", self.tasks, ">= 1 or null")
        require(self.ewc_stiffness > 0, "ewc_stiffness", self.ewc_stiffness, "> 0")


def protocol_of(benchmark: str, settings: Mapping[str, Any]) -> Protocol:
    """The benchmark's own defaults, changed by nested settings such as {"learning": {"epochs": 5}}."""
    require(benchmark in BENCHMARKS, "benchmark", benchmark, f"one of {', '.join(BENCHMARKS)}")
    learning = settings.get("learning")
    for decided, by in (("variant", "--methods"), ("seed", "--seeds")):
        if isinstance(learning, Mapping) and decided in learning:
            raise ConfigError(f"learning.{decided} is what a benchmark varies: choose it by {by}")
    own = DEFAULTS[benchmark]
    return from_json(Protocol, {**_merged(own, settings), "benchmark": benchmark})


def _merged(own: Any, given: Any) -> Any:
    """Settings over the benchmark's own, group by group; another network brings its own arguments."""
    if not isinstance(own, Mapping) or not isinstance(given, Mapping):
        return given
    if given.get("name", own.get("name")) != own.get("name"):
        return given
    return {**own, **{name: _merged(own.get(name), value) for name, value in given.items()}}


@dataclass(frozen=True, slots=True)
class Method:
    """A method, and the budget it is given where that is not the protocol's."""

    name: str
    capacity_per_task: float | None = None

    @classmethod
    def parse(cls, label: str) -> "Method":
        """`apd2`, or `apd2@0.005` for half a per cent of P per task. Raises ConfigError."""
        name, at, share = label.partition("@")
        require(name in METHODS, "method", label, f"one of {', '.join(METHODS)}, or such as apd2@0.005")
        if not at:
            return cls(name)
        number = re.fullmatch(r"0?\.\d+|1(\.0*)?", share)
        positive = number is not None and float(share) > 0
        require(name in VARIANTS and positive, "method", label, "a variant of APD at a share in (0, 1]")
        return cls(name, float(share))


@dataclass(frozen=True, slots=True)
class Cell:
    """One run over the whole stream."""

    method: str
    """Label, as `Method.parse` reads it."""
    order: str
    seed: int

    @property
    def name(self) -> str:
        """`apd2-A-0`."""
        return f"{self.method}-{self.order}-{self.seed}"

    def learning(self, protocol: Protocol) -> LearningConfig:
        """The protocol's training settings for this cell.

        Every order begins from other initial values, the same ones for all methods. So separate networks differ between
        orders too, by chance alone: that is the order disparity to compare a method's with.
        """
        method = Method.parse(self.method)
        seed = self.seed * len(ORDERS) + ORDERS.index(self.order)
        changes: dict[str, Any] = {"seed": seed}
        if method.name in VARIANTS:
            changes["variant"] = method.name
        if method.capacity_per_task is not None:
            changes["capacity_per_task"] = method.capacity_per_task
        return replace(protocol.learning, **changes)


def cells(methods: Sequence[str], orders: Sequence[str], seeds: Sequence[int]) -> list[Cell]:
    """All of them, seed by seed and order by order, so that a run that is stopped has compared something.

    ConfigError for a method, order or seed that does not exist, or none at all.
    """
    for label in methods:
        Method.parse(label)
    for order in orders:
        require(order in ORDERS, "order", order, f"one of {', '.join(ORDERS)}")
    for seed in seeds:
        require(0 <= seed < SEEDS // len(ORDERS), "seed", seed, f"in 0..{SEEDS // len(ORDERS) - 1}")
    for name, values in (("methods", methods), ("orders", orders), ("seeds", seeds)):
        require(bool(values), name, list(values), "one at least")
        require(len(set(values)) == len(values), name, list(values), "named once each")
    return [Cell(method, order, seed) for seed, order, method in product(seeds, orders, methods)]
