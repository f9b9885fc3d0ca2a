"""What APD is compared with: the same networks, data, epochs and selection on validation data.

SeparateNetwork     one network per task (STL): no sharing, no forgetting, a whole network of memory each
FineTuning          one body trained on task after task, a head per task (L2-transfer without its penalty): it forgets
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from apd.adam import Group
from apd.config import LearningConfig
from apd.data import Split, TaskData
from apd.errors import StateError, UnknownTask
from apd.loop import Loop, Progress, bare_accuracy, labelled, trainable, under
from apd.networks import Network
from apd.state import Snapshot, Tensors


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A bare network after training."""

    tensors: Tensors
    """Its state dict."""
    best_epoch: int
    """Epoch whose parameters were kept, from 1."""
    validation_accuracy: float
    """Of the kept parameters, in [0, 1]."""


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
        parameters = trainable(network, classes)
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
        """The kept network; StateError before the last epoch."""
        kept = self._result_tensors()
        tensors = under("body", kept) | under("private", kept) | under("buffer", kept)
        return Trained(tensors, self._kept_epoch, self._kept_accuracy)


class FineTuning:
    """One body for all tasks, trained on each as it comes; a task keeps the head that it had when it was learned."""

    def __init__(self, network: Network, config: LearningConfig, *, device: str = "cpu") -> None:
        self.network, self.config, self.device = network, config, device
        self._body: dict[str, Tensor] = {}
        self._heads: dict[str, dict[str, Tensor]] = {}

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks learned, in order."""
        return tuple(self._heads)

    def learn(self, name: str, classes: int, data: TaskData) -> Iterator[Progress]:
        """Train the body and a new head on this task; the task counts as learned once the iterator is exhausted."""
        training = SeparateNetwork(self.network, name, classes, data, self.config, start=self._body, device=self.device)
        yield from training.epochs()
        tensors, head = training.result().tensors, self.network.spec(classes).head
        self._heads[name] = {key: tensors[key] for key in head}
        self._body = {key: value for key, value in tensors.items() if key not in head}

    def accuracy(self, name: str, split: Split) -> float:
        """Of a learned task under the body as it is now, in [0, 1]."""
        if name not in self._heads:
            raise UnknownTask(f"fine-tuning has not learned task {name!r}; it has {', '.join(self.tasks) or 'none'}")
        return bare_accuracy(self.network, self._body | self._heads[name], split)

    def snapshot(self) -> Snapshot:
        """All that later tasks and accuracies depend on."""
        heads = {f"head/{task}/{key}": value for task, head in self._heads.items() for key, value in head.items()}
        body = {f"body/{key}": value for key, value in self._body.items()}
        return Snapshot(body | heads, {"method": type(self).__name__, "tasks": list(self.tasks)})

    def restore(self, snapshot: Snapshot) -> None:
        """Take over that state; StateError if another method wrote it."""
        if snapshot.values.get("method") != type(self).__name__:
            raise StateError(f"the snapshot is of {snapshot.values.get('method')!r}, expected {type(self).__name__!r}")
        self._body, self._heads = {}, {task: {} for task in snapshot.values["tasks"]}
        for key, value in snapshot.tensors.items():
            kind, rest = key.split("/", 1)
            if kind == "body":
                self._body[rest] = value
            else:
                task, name = rest.split("/", 1)
                self._heads[task][name] = value
