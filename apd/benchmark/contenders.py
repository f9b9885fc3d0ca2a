"""The methods as one interface: learn a task, measure any task learned, say how large everything is.

Each is the library's own training, with the same network, data and epochs, and the same mean of the last ones.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

from apd.baselines import ElasticWeights, FineTuning, SeparateNetwork
from apd.config import ConsolidationConfig, LearningConfig
from apd.consolidation import consolidate
from apd.data import NamedTask, Samples
from apd.decomposition import arrive
from apd.joint import JointTask
from apd.loop import bare_accuracy
from apd.metrics import falls_beyond, paper_capacity
from apd.networks import Network
from apd.refit import is_ahead, refit
from apd.state import FIRST, UNCLUSTERED, Consolidation, TaskState, Tensors
from apd.store.footprint import footprint
from apd.training import Fit, Progress, accuracy


@dataclass(frozen=True, slots=True)
class Setting:
    """What a method works with."""

    network: Network
    learning: LearningConfig
    consolidation: ConsolidationConfig
    ewc_stiffness: float
    device: str = "cpu"


class Contender(ABC):
    """A method somewhere in a stream of tasks."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    @abstractmethod
    def learn(self, task: NamedTask) -> None:
        """Learn one more task."""

    @abstractmethod
    def accuracy(self, name: str, split: Samples) -> float:
        """Of a learned task as it is now, in [0, 1]."""

    @abstractmethod
    def change(self, name: str) -> int:
        """Which change of the task's parameters was the last; while the number stays, so does every accuracy."""

    @abstractmethod
    def paper_capacity(self) -> float:
        """Non-zeros of the whole model over the size of one network with all heads."""

    @abstractmethod
    def bytes(self) -> int:
        """What must be kept so that every task predicts and the next one can be learned."""


class Additive(Contender):
    """APD, as a stream runs it: one task after another, a consolidation every s tasks where the variant has any."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._tasks: dict[str, TaskState] = {}
        self._origin: Tensors = {}
        self._data: dict[str, JointTask] = {}
        self._changes: dict[str, int] = {}
        self._arrival, self._clustering, self._waiting = FIRST, UNCLUSTERED, 0

    def learn(self, task: NamedTask) -> None:
        """Fit the task to what is there; consolidate when it is time."""
        of, classes = self.setting, len(task.classes)
        fit = Fit(of.network, task.name, classes, task.data, self._arrival, of.learning, device=of.device)
        _finish(fit.epochs())
        learned = fit.result().task
        self._origin = self._origin or learned.sigma
        self._tasks[task.name], self._changes[task.name] = learned, 0
        self._data[task.name] = JointTask(task.name, classes, task.data)
        self._arrival = arrive(self._arrival, learned, learned.sigma)
        self._waiting += 1
        if of.learning.variant == "apd2" and self._waiting >= of.consolidation.consolidate_every:
            self._consolidate()

    def _consolidate(self) -> None:
        """At the largest tolerance that costs no task more validation accuracy than is allowed, if there is one."""
        limit = self.setting.consolidation.max_accuracy_drop
        for outcome in self._outcomes():
            pairs = ((self._validated(self._tasks[after.name]), self._validated(after)) for after in outcome.tasks)
            if not any(falls_beyond(*pair, limit) for pair in pairs):
                self._adopt(outcome)
                return

    def _outcomes(self) -> Iterator[Consolidation]:
        of, tasks = self.setting, list(self._tasks.values())
        settings, seed = of.consolidation, of.learning.seed
        if is_ahead(settings, self._clustering.rounds, len(tasks)):
            again = [self._data[task.name] for task in tasks]
            yield refit(of.network, tasks, again, of.learning, epochs=settings.refit_epochs, device=of.device)
        for tolerance in settings.tolerances:
            yield consolidate(tasks, self._sigma, self._clustering, replace(settings, tolerance=tolerance), seed)

    def _adopt(self, outcome: Consolidation) -> None:
        self._tasks = {after.name: after for after in outcome.tasks}
        self._changes = {name: change + 1 for name, change in self._changes.items()}
        self._arrival = FIRST
        for task in outcome.tasks:
            self._arrival = arrive(self._arrival, task, outcome.sigma)
        self._origin = outcome.sigma if outcome.refit else self._origin
        self._clustering, self._waiting = outcome.clustering, 0

    def _validated(self, task: TaskState) -> float:
        return accuracy(self.setting.network, task, self._data[task.name].data.validation.to(self.setting.device))

    @property
    def _sigma(self) -> Tensors:
        assert self._arrival.sigma is not None
        return self._arrival.sigma

    def accuracy(self, name: str, split: Samples) -> float:
        """Of the task's own network."""
        return accuracy(self.setting.network, self._tasks[name], split)

    def change(self, name: str) -> int:
        """Consolidations since it was learned; nothing else touches a task."""
        return self._changes[name]

    def paper_capacity(self) -> float:
        """As in `apd.metrics`."""
        tasks = list(self._tasks.values())
        head = self.setting.network.spec(2).head
        return paper_capacity(tasks, self._sigma, list(head))

    def bytes(self) -> int:
        """As in a stream's store."""
        return footprint(list(self._tasks.values()), self._sigma, self._origin)


class Separate(Contender):
    """A network of its own for every task (STL)."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._networks: dict[str, Tensors] = {}

    def learn(self, task: NamedTask) -> None:
        """Train one more network."""
        of, classes = self.setting, len(task.classes)
        training = SeparateNetwork(of.network, task.name, classes, task.data, of.learning, device=of.device)
        _finish(training.epochs())
        self._networks[task.name] = training.result().tensors

    def accuracy(self, name: str, split: Samples) -> float:
        """Of the task's own network."""
        return bare_accuracy(self.setting.network, self._networks[name], split)

    def change(self, name: str) -> int:
        """None ever."""
        return 0

    def paper_capacity(self) -> float:
        """The networks over one network with all heads."""
        head = self.setting.network.spec(2).head
        networks = list(self._networks.values())
        everything = sum(tensor.numel() for tensors in networks for tensor in tensors.values())
        heads = sum(tensors[name].numel() for tensors in networks for name in head)
        body = sum(tensor.numel() for name, tensor in networks[-1].items() if name not in head)
        return everything / (body + heads)

    def bytes(self) -> int:
        """Of all networks."""
        return sum(map(size_in_bytes, self._networks.values()))


class OneBody(Contender):
    """Fine-tuning, and elastic weight consolidation: one network for all tasks, with a head for each."""

    def __init__(self, setting: Setting, method: FineTuning) -> None:
        super().__init__(setting)
        self._method = method

    def learn(self, task: NamedTask) -> None:
        """Move the body, make a head."""
        _finish(self._method.learn(task.name, len(task.classes), task.data))

    def accuracy(self, name: str, split: Samples) -> float:
        """Under the body as it is now."""
        return self._method.accuracy(name, split)

    def change(self, name: str) -> int:
        """Every task learned changes every other."""
        return len(self._method.tasks)

    def paper_capacity(self) -> float:
        """One network with all heads; what only learning needs, such as EWC's sensitivities, the paper leaves out."""
        return 1.0

    def bytes(self) -> int:
        """Of body and heads, and of EWC's sensitivities."""
        return size_in_bytes(self._method.snapshot().tensors)


def contender(method: str, setting: Setting) -> Contender:
    """A method that learns task after task, before the first one."""
    of = setting
    if method == "stl":
        return Separate(of)
    if method == "finetuning":
        return OneBody(of, FineTuning(of.network, of.learning, device=of.device))
    if method == "ewc":
        stiffness = of.ewc_stiffness
        return OneBody(of, ElasticWeights(of.network, of.learning, stiffness=stiffness, device=of.device))
    return Additive(of)


def size_in_bytes(tensors: Tensors) -> int:
    """Of dense tensors."""
    return sum(tensor.nbytes for tensor in tensors.values())


def _finish(epochs: Iterator[Progress]) -> None:
    for _ in epochs:
        pass
