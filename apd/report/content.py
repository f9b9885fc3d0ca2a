"""Everything a report shows, as plain frozen data. Whoever has a stream fills it in; the pages only draw it.

Accuracies are test accuracies in [0, 1]; None means that nobody measured it. "Density" is non-zeros over the number of
elements. Every tuple "per task" follows `Report.tasks`, which is the order of arrival.
"""

from collections.abc import Sized
from dataclasses import dataclass

from apd.errors import StateError

Accuracy = float | None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One learned task."""

    name: str
    classes: tuple[str, ...]
    """Class names; their number gives the accuracy of guessing."""
    accuracy_when_learned: Accuracy
    accuracy_now: Accuracy
    """At the report's version."""
    separate: Accuracy
    """Of a network of its own, same architecture, data and budget."""
    fine_tuning: Accuracy
    """Of one network fine-tuned from task to task, on this task, after the last of them."""
    tau_density: float
    """Non-zeros of tau over P."""
    bytes: int
    """Stored for this task alone: masks, tau, private tensors."""
    seconds: float | None
    """Wall-clock time of its training."""

    @property
    def change(self) -> float | None:
        """Accuracy now less accuracy when learned."""
        if self.accuracy_now is None or self.accuracy_when_learned is None:
            return None
        return self.accuracy_now - self.accuracy_when_learned


@dataclass(frozen=True, slots=True)
class AccuracyRow:
    """Accuracy of every task right after one version was committed."""

    version: int
    kind: str
    """What made the version: `learn`, `consolidate`, `prune`, ... as the store names it."""
    accuracies: tuple[Accuracy, ...]
    """Per task; None where the version did not know the task yet."""


@dataclass(frozen=True, slots=True)
class CapacityPoint:
    """Size of the whole stream at one version."""

    version: int
    kind: str
    """As in AccuracyRow."""
    tasks: int
    """Tasks learned so far."""
    paper_capacity: float
    """The paper's definition, as a share of one network: 1.0 is one network."""
    bytes: int
    """In the store, of everything the version needs."""


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """Tasks that share a sigma_g at one parameter."""

    index: int
    members: tuple[str, ...]
    """Task names."""
    shared_elements: int
    """Non-zeros of sigma_g."""
    largest_move: float | None
    """Largest change of any member's theta made by forming it, at most the stream's tolerance."""


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One shared parameter tensor of the network."""

    name: str
    shape: tuple[int, ...]
    tau_densities: tuple[float, ...]
    """Per task, of this tensor."""
    clusters: tuple[ClusterRow, ...]
    """Empty before the first consolidation."""


@dataclass(frozen=True, slots=True)
class ConsolidationRow:
    """One consolidation of the stream."""

    version: int
    """The version it made; where it was refused, the one it started from."""
    accepted: bool
    """False: it cost some task more than the stream allows, and was kept aside."""
    tasks: int
    tolerance: float
    """Largest spread of taus that it shares."""
    clusters: int
    """With two members or more, over all layers."""
    shared_elements: int
    """Non-zeros of all sigma_g."""
    tau_before: int
    """Non-zeros of all taus, on the sigma that all tasks were put on."""
    tau_after: int
    largest_move: float
    """Of any element of any theta."""
    largest_drop: float | None
    """Accuracy lost by the task that lost most, on the data the gate looks at; negative where all gained."""
    seconds: float | None
    refit: bool = False
    """Nothing was shared: sigma was learned again and every task anew on top of it, within no tolerance."""


@dataclass(frozen=True, slots=True)
class OrderRow:
    """The same tasks learned in another order of arrival."""

    label: str
    accuracies: tuple[float, ...]
    """Final accuracy per task, in the order of `Report.tasks`."""


@dataclass(frozen=True, slots=True)
class Report:
    """One version of one stream."""

    stream: str
    version: int
    created: str
    """When the version was committed, ISO 8601 in UTC: not the time of rendering, so that pages can be compared."""
    network: str
    """As configured: `lenet`."""
    parameters: int
    """P, the shared parameters of one network."""
    network_bytes: int
    """Bytes of one dense network with its head: what "one network" means wherever bytes are compared."""
    tasks: tuple[TaskRow, ...]
    accuracy: tuple[AccuracyRow, ...]
    capacity: tuple[CapacityPoint, ...]
    layers: tuple[LayerRow, ...]
    consolidations: tuple[ConsolidationRow, ...]
    fine_tuning: tuple[AccuracyRow, ...] = ()
    """The matrix of the fine-tuned network; empty where that baseline did not run."""
    similarity: tuple[tuple[float, ...], ...] = ()
    """Cosine of the full taus (tau + sigma_g), task by task, 0 where one is zero; empty where it was not computed."""
    orders: tuple[OrderRow, ...] = ()
    """Other orders of arrival, where they were measured."""
    settings: tuple[tuple[str, str], ...] = ()
    """(name, value) of the settings worth printing."""

    def __post_init__(self) -> None:
        self._check_lengths()
        for row in self.accuracy + self.fine_tuning + self.orders:
            for accuracy in row.accuracies:
                self._require(accuracy is None or 0 <= accuracy <= 1, f"an accuracy is {accuracy}, not in [0, 1]")
        for task in self.tasks:
            self._require(bool(task.classes), f"task {task.name!r} has no classes")
            self._require(0 <= task.tau_density <= 1, f"tau of {task.name!r} has density {task.tau_density}")
        names = {task.name for task in self.tasks}
        for layer in self.layers:
            for cluster in layer.clusters:
                unknown = sorted(set(cluster.members) - names)
                self._require(not unknown, f"cluster {cluster.index} of {layer.name!r} has unknown members {unknown}")

    def _check_lengths(self) -> None:
        found: list[tuple[str, Sized]] = []
        found += [(f"accuracy of version {row.version}", row.accuracies) for row in self.accuracy]
        found += [(f"fine-tuning after version {row.version}", row.accuracies) for row in self.fine_tuning]
        found += [(f"accuracy in order {row.label!r}", row.accuracies) for row in self.orders]
        found += [(f"tau densities of {layer.name!r}", layer.tau_densities) for layer in self.layers]
        found += [(f"row {index} of the similarity", row) for index, row in enumerate(self.similarity)]
        found += [("the similarity", self.similarity)] if self.similarity else []
        for place, values in found:
            self._require(
                len(values) == len(self.tasks), f"{place} has {len(values)} entries for {len(self.tasks)} tasks"
            )

    def _require(self, holds: bool, complaint: str) -> None:
        if not holds:
            raise StateError(f"report of {self.stream!r}, version {self.version}: {complaint}")
