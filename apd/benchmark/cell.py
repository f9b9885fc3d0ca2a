"""One cell: a method meets the tasks in one order. In memory; what comes out are numbers.

Seconds are processor time, which other work on the machine does not change; on a GPU time itself.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from apd.benchmark.contenders import Contender, Setting, contender, size_in_bytes
from apd.benchmark.protocol import Cell, Method, Protocol
from apd.config import StreamConfig
from apd.data import Samples
from apd.data.official import Benchmark, load_benchmark
from apd.joint import JointTask, JointTraining
from apd.networks import Network, from_config


@dataclass(frozen=True, slots=True)
class Step:
    """One task of a running cell was learned."""

    number: int
    """From 1."""
    tasks: int
    """How many there will be."""
    task: str
    accuracy: float
    """Test accuracy of the task, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What became of one task."""

    task: str
    accuracies: tuple[float, ...]
    """Test accuracy in [0, 1] after the task itself was learned, after the next one, ..., after the last one."""
    validation_accuracy: float | None
    """After the last task, in [0, 1]: what settings are chosen by; None for joint training."""
    paper_capacity: float
    """Of the whole model right after this task, 1.0 being one network."""
    seconds: float
    """Of learning it, consolidation included where one was due; a joint training's are shared equally."""


@dataclass(frozen=True, slots=True)
class CellResult:
    """What a cell came to."""

    cell: Cell
    joint: bool
    """All tasks were trained at once: nothing arrived, so nothing could be forgotten."""
    tasks: tuple[TaskResult, ...]
    """In the order of arrival."""
    byte_capacity: float
    """Bytes of the whole model over those of one dense network."""
    notes: tuple[str, ...]
    """Of the data source."""
    made_with: Mapping[str, str]
    """Versions and device."""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "CellResult":
        """The inverse of `to_json`."""
        tasks = tuple(TaskResult(**{**task, "accuracies": tuple(task["accuracies"])}) for task in values["tasks"])
        read = {"cell": Cell(**values["cell"]), "tasks": tasks, "notes": tuple(values["notes"])}
        return cls(**{**values, **read})


def load_tasks(protocol: Protocol, order: str, folder: Path | None) -> Benchmark:
    """The protocol's tasks in this order. DataError says which file is absent and where to get it."""
    return load_benchmark(
        protocol.benchmark, folder, order=order, count=protocol.tasks, legacy_layout=protocol.legacy_layout
    )


def data_of(benchmark: Benchmark) -> dict[str, Any]:
    """What tells these tasks from those of other data, as JSON values; every task is made for it, one after another."""
    tasks = {task.name: len(task.classes) for task in benchmark}
    return {"tasks": tasks, "notes": list(benchmark.notes)}


def network_for(protocol: Protocol, benchmark: Benchmark) -> Network:
    """The network of all cells. ConfigError if it does not take its arguments or these inputs' shape."""
    return from_config(StreamConfig(benchmark.input_shape, network=protocol.network))


def run_cell(cell: Cell, protocol: Protocol, benchmark: Benchmark, device: str = "cpu") -> Iterator[Step | CellResult]:
    """Learn all tasks; yield each step, and at last the whole cell: on a CPU the same numbers every time."""
    network, learning = network_for(protocol, benchmark), cell.learning(protocol)
    setting = Setting(network, learning, protocol.consolidation, protocol.ewc_stiffness, device)
    method = Method.parse(cell.method).name
    if method == "mtl":
        tasks, size = yield from _jointly(setting, benchmark)
    else:
        tasks, size = yield from _one_by_one(contender(method, setting), benchmark)
    made_with = {"apd": version("apd"), "torch": torch.__version__, "device": device}
    yield CellResult(cell, method == "mtl", tasks, size, benchmark.notes, made_with)


Course = Generator[Step, None, tuple[tuple[TaskResult, ...], float]]
"""Steps; returns the results per task, and the whole model's bytes over one network's."""


@dataclass(slots=True)
class _Record:
    """A task after it was learned."""

    test: Samples
    validation: Samples
    paper_capacity: float
    seconds: float
    accuracies: list[float] = field(default_factory=list)
    change: int | None = None

    def measure(self, method: Contender, name: str) -> float:
        """Add the accuracy now; while nothing has changed that is the last one."""
        change = method.change(name)
        accuracy = self.accuracies[-1] if change == self.change else method.accuracy(name, self.test)
        self.accuracies.append(accuracy)
        self.change = change
        return accuracy

    def result(self, method: Contender, name: str) -> TaskResult:
        """At the end of the stream."""
        validated = method.accuracy(name, self.validation)
        return TaskResult(name, tuple(self.accuracies), validated, self.paper_capacity, self.seconds)


def _one_by_one(method: Contender, benchmark: Benchmark) -> Course:
    records: dict[str, _Record] = {}
    classes, device = 0, method.setting.device
    clock = _clock(device)
    for number, task in enumerate(benchmark, 1):
        started = clock()
        method.learn(task)
        seconds = clock() - started
        test, validation = task.data.test.to(device), task.data.validation.to(device)
        records[task.name] = _Record(test, validation, method.paper_capacity(), seconds)
        accuracy = [record.measure(method, name) for name, record in records.items()][-1]
        classes = max(classes, len(task.classes))
        yield Step(number, len(benchmark), task.name, accuracy)
    results = tuple(record.result(method, name) for name, record in records.items())
    return results, method.bytes() / _network_bytes(method.setting.network, classes)


def _jointly(setting: Setting, benchmark: Benchmark) -> Course:
    tasks = [JointTask(task.name, len(task.classes), task.data) for task in benchmark]
    clock = _clock(setting.device)
    started = clock()
    training = JointTraining(setting.network, tasks, setting.learning, device=setting.device)
    accuracies = training.run()
    seconds = (clock() - started) / len(tasks)
    results = tuple(TaskResult(name, (value,), None, 1.0, seconds) for name, value in accuracies.items())
    for number, result in enumerate(results, 1):
        yield Step(number, len(tasks), result.task, result.accuracies[-1])
    return results, _with_all_heads(setting.network, [task.classes for task in tasks])


def _clock(device: str) -> Callable[[], float]:
    """Processor time, which other work beside does not add to; on a GPU, whose work it leaves out, time itself."""
    return time.process_time if device == "cpu" else time.perf_counter


def _network_bytes(network: Network, classes: int) -> int:
    """Of one dense network."""
    return size_in_bytes(network.initial(classes, seed=0))


def _with_all_heads(network: Network, classes: Sequence[int]) -> float:
    """Bytes of one body with a head per task, statistics included, over those of one network."""
    head = network.own(classes[0])
    values = [network.initial(count, seed=0) for count in classes]
    heads = sum(size_in_bytes({name: tensors[name] for name in head}) for tensors in values)
    body = size_in_bytes({name: tensor for name, tensor in values[0].items() if name not in head})
    return (body + heads) / _network_bytes(network, max(classes))
