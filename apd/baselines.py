"""What APD is compared with: the same networks, data and epochs, and the same mean of the last ones.

SeparateNetwork     one network per task (STL): no sharing, no forgetting, a whole network of memory each
FineTuning          one body trained on task after task, a head per task (L2-transfer without its penalty): it forgets
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from apd.adam import Group
from apd.config import LearningConfig
from apd.data import Samples, TaskData
from apd.data.splits import permutation
from apd.errors import StateError, UnknownTask
from apd.loop import Loop, Progress, bare_accuracy, by_name, labelled, under
from apd.networks import Network
from apd.state import Snapshot, Tensors


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A bare network after training."""

    tensors: Tensors
    """Its state dict."""
    validation_accuracy: float
    """In [0, 1]."""


class SeparateNetwork(Loop):
    """Train a bare network on one task, from fresh initial values or from `start`."""

    def __init__(
        self,
        network: Network,
        name: str,
        classes: int,
        data: TaskData,
        config: LearningConfig,
        *,
        start: Tensors | None = None,
        device: str = "cpu",
    ) -> None:
        """start: values of any of the network's tensors, to begin with instead of the initial ones."""
        spec = network.spec(classes)
        values = network.initial(classes, config.seed) | dict(start or {})
        there = {key: value.detach().clone().to(device) for key, value in values.items()}
        parameters = set(network.trainable(classes))
        self._parameters = {key: there[key].requires_grad_() for key in there if key in parameters}
        self._buffers = {key: value for key, value in there.items() if key not in parameters}
        body = {key: value for key, value in self._parameters.items() if key in spec.shared}
        private = {key: value for key, value in self._parameters.items() if key not in spec.shared}
        groups = (Group(labelled("body", body), config.weight_decay), Group(labelled("private", private)))
        super().__init__(network, name, data, config, groups, self._buffers, device)

    def _network_tensors(self) -> dict[str, Tensor]:
        return {**self._parameters, **self._buffers}

    def _update(self, gradients: Tensors) -> None:
        by_leaf = {leaf: gradients[leaf.split("/", 1)[1]] for leaf in self._live if not leaf.startswith("buffer/")}
        self._adam.step(by_leaf, [self._rate, self._rate])

    def result(self) -> Trained:
        """The network as learned; StateError before the last epoch."""
        mean = self._result_tensors()
        tensors = under("body", mean) | under("private", mean) | under("buffer", mean)
        return Trained(tensors, self._validated(tensors))


class FineTuning:
    """One body for all tasks, trained on each as it comes.

    A task keeps the head that it had when it was learned, and statistics such as BatchNorm's: with those of the last
    task alone, whatever it says of the others is noise.
    """

    def __init__(self, network: Network, config: LearningConfig, *, device: str = "cpu") -> None:
        self.network, self.config, self.device = network, config, device
        self._body: dict[str, Tensor] = {}
        self._heads: dict[str, dict[str, Tensor]] = {}

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks learned, in order."""
        return tuple(self._heads)

    def learn(self, name: str, classes: int, data: TaskData) -> Iterator[Progress]:
        """Train the body and a new head on this task; it counts as learned once the iterator is exhausted."""
        training = self._training(name, classes, data)
        yield from training.epochs()
        tensors, own = training.result().tensors, self.network.own(classes)
        self._heads[name] = {key: tensors[key] for key in own}
        self._body = {key: value for key, value in tensors.items() if key not in own}

    def _training(self, name: str, classes: int, data: TaskData) -> SeparateNetwork:
        return SeparateNetwork(self.network, name, classes, data, self.config, start=self._body, device=self.device)

    def accuracy(self, name: str, split: Samples) -> float:
        """Of a learned task under the body as it is now, in [0, 1]."""
        if name not in self._heads:
            raise UnknownTask(f"fine-tuning has not learned task {name!r}; it has {', '.join(self.tasks) or 'none'}")
        return bare_accuracy(self.network, self._body | self._heads[name], split)

    def snapshot(self) -> Snapshot:
        """All that later tasks and accuracies depend on."""
        tensors = labelled("body", self._body)
        for task, head in self._heads.items():
            tensors |= labelled(f"head/{task}", head)
        return Snapshot(tensors, {"method": type(self).__name__, "tasks": list(self.tasks)})

    def restore(self, snapshot: Snapshot) -> None:
        """Take over that state; StateError if another method wrote it."""
        if snapshot.values.get("method") != type(self).__name__:
            raise StateError(f"the snapshot is of {snapshot.values.get('method')!r}, expected {type(self).__name__!r}")
        self._body = under("body", snapshot.tensors)
        self._heads = {task: under(f"head/{task}", snapshot.tensors) for task in snapshot.values["tasks"]}


class _Held(SeparateNetwork):
    """A network whose parameters are pulled to where they were, each with its own strength."""

    anchor: Tensors
    strength: Tensors

    def _update(self, gradients: Tensors) -> None:
        for key, strength in self.strength.items():
            gradients[key].addcmul_(strength, self._parameters[key] - self.anchor[key])
        super()._update(gradients)


class ElasticWeights(FineTuning):
    """Elastic weight consolidation: fine-tuning with a quadratic pull to the body that earlier tasks were left with.

        cross-entropy(theta; D_t) + stiffness/2 sum_e F[e] (theta[e] - theta_old[e])^2

    F is the diagonal of the Fisher information, summed over the earlier tasks, each estimated from up to `samples` of
    its training samples. One anchor for all tasks, so memory does not grow. Source: Kirkpatrick et al. (2017), in the
    form of Schwarz et al. (2018) without decay.
    """

    def __init__(
        self, network: Network, config: LearningConfig, *, stiffness: float, samples: int = 200, device: str = "cpu"
    ) -> None:
        super().__init__(network, config, device=device)
        self.stiffness, self.samples = stiffness, samples
        self._fisher: dict[str, Tensor] = {}

    def learn(self, name: str, classes: int, data: TaskData) -> Iterator[Progress]:
        """As fine-tuning, held back by the earlier tasks; then measure what this one is sensitive to."""
        yield from super().learn(name, classes, data)
        found = fisher(self.network, self._body | self._heads[name], set(self._body), data.train, self.samples)
        self._fisher = {key: value + self._fisher.get(key, 0.0) for key, value in found.items()}

    def _training(self, name: str, classes: int, data: TaskData) -> SeparateNetwork:
        training = _Held(self.network, name, classes, data, self.config, start=self._body, device=self.device)
        training.anchor = {key: value.to(self.device) for key, value in self._body.items()}
        training.strength = {key: (self.stiffness * value).to(self.device) for key, value in self._fisher.items()}
        return training

    def snapshot(self) -> Snapshot:
        """As fine-tuning, with the Fisher information."""
        plain = super().snapshot()
        return Snapshot({**plain.tensors, **labelled("fisher", self._fisher)}, plain.values)

    def restore(self, snapshot: Snapshot) -> None:
        """Take over that state; StateError if another method wrote it."""
        super().restore(snapshot)
        self._fisher = under("fisher", snapshot.tensors)


def fisher(network: Network, tensors: Tensors, wanted: set[str], split: Samples, samples: int) -> dict[str, Tensor]:
    """Diagonal of the Fisher information: mean over samples of sum_c p_c (d log p_c / d theta)^2, p as predicted.

    The labels' own gradients would tell little: on what a network has fitted they vanish. The sum over classes is
    estimated without bias by one gradient per sample, of sum_c r_c sqrt(p_c) log p_c with r_c = +1 or -1 by chance, p_c
    under the root held constant: what the product of two classes adds has the mean zero.

    The first `samples` of an order that depends on the split's size alone. Returns the parameters among `wanted`.
    """
    parameters = wanted.intersection(network.trainable(network.classes_of(tensors)))
    leaves = {key: value.detach().requires_grad_(key in parameters) for key, value in tensors.items()}
    sums = {key: torch.zeros_like(tensors[key]) for key in leaves if key in parameters}
    chosen = split.take(permutation(len(split), 0)[:samples])
    generator = torch.Generator().manual_seed(0)
    for inputs, _ in chosen.chunks(1):
        log_p = functional.log_softmax(network.forward(leaves, inputs, training=False), dim=1)
        signs = torch.randint(2, log_p.shape, generator=generator).to(log_p) * 2 - 1
        mixed = (signs * (log_p.detach() / 2).exp() * log_p).sum()
        for key, gradient in by_name(mixed, leaves).items():
            sums[key] += gradient.square()
    return {key: value / len(chosen) for key, value in sums.items()}
