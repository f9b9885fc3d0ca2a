"""Benchmark streams by name: lists of tasks from public datasets, in one of five orders.

digits                16 tasks of 5 classes, 8x8, embedded (needs no folder)
omniglot-rotation     up to 100 tasks of 12 characters in four rotations, 28x28
cifar100-split        10 tasks of 10 consecutive fine classes, 3x32x32
cifar100-superclass   20 tasks of the 5 classes of a superclass, 3x32x32
permuted-mnist        10 tasks of 10 digits, pixels in a fixed permutation each (the first as they are), 28x28
fashion-mnist-split   5 tasks of 2 kinds of clothing, 28x28
five-datasets         MNIST, Fashion-MNIST, notMNIST, CIFAR-10 and SVHN, as far as they are there, 3x32x32
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from apd.config import require
from apd.data.digits import INPUT_SHAPE, digits_tasks
from apd.data.official import five, omniglot
from apd.data.official.cifar import SHAPE as CIFAR_SHAPE
from apd.data.official.cifar import Cifar100, cifar100
from apd.data.official.idx import fashion_mnist, mnist
from apd.data.official.labelled import task_of
from apd.data.official.orders import order_of
from apd.data.official.sources import Files
from apd.data.splits import permutation
from apd.data.tasks import NamedTask
from apd.errors import DataError
from apd.state import Shape


@dataclass(frozen=True, slots=True, eq=False)
class TaskList:
    """The tasks of a benchmark in their natural order, each made when it is asked for."""

    input_shape: Shape
    count: int
    make: Callable[[int], NamedTask]
    """The task of a number from 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Benchmark:
    """The tasks of a benchmark in one order; iterating makes them one after another."""

    name: str
    order: tuple[int, ...]
    """Numbers of the tasks in the order of their arrival."""
    tasks: TaskList
    files: Files

    @property
    def input_shape(self) -> Shape:
        """Shape of one input; all inputs are uint8."""
        return self.tasks.input_shape

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be said beside results: files that are not the official ones, data left out or scrambled."""
        return tuple(self.files.notes)

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[NamedTask]:
        return map(self.tasks.make, self.order)


def load_benchmark(
    name: str,
    folder: Path | None = None,
    *,
    order: str = "A",
    count: int | None = None,
    legacy_layout: bool = False,
    insist: bool = False,
) -> Benchmark:
    """A benchmark from the official files in `folder`; `digits` needs none.

    order: A to E. count: only the first tasks of the natural order. legacy_layout: CIFAR-100 scrambled as in published
    tables. insist: refuse files that are not the official ones instead of noting them. ConfigError for settings that
    do not exist; DataError names the file that is absent and where to get it, or what is wrong with it.
    """
    require(name in BENCHMARKS, "benchmark", name, f"one of {', '.join(BENCHMARKS)}")
    require(name == "digits" or folder is not None, "data folder", folder, f"a folder with the files of {name}")
    cifar = name in OF_CIFAR100
    require(cifar or not legacy_layout, "legacy_layout", legacy_layout, f"false: {name} has one layout only")
    files = Files(folder or Path(), insist)
    tasks = OF_CIFAR100[name](cifar100(files, legacy_layout)) if cifar else OTHERS[name](files)
    require(count is None or 1 <= count <= tasks.count, "number of tasks", count, f"from 1 to {tasks.count}")
    return Benchmark(name, order_of(name, order, count or tasks.count), tasks, files)


def _digits(_files: Files) -> TaskList:
    tasks = list(digits_tasks())
    return TaskList(INPUT_SHAPE, len(tasks), tasks.__getitem__)


def _omniglot_rotation(files: Files) -> TaskList:
    found, size = omniglot.characters(files), omniglot.CLASSES
    count = min(omniglot.TASKS, len(found) // size)
    if not count:
        raise DataError(f"{files.folder}/omniglot holds {len(found)} characters; expected {size} at least")
    return TaskList(
        omniglot.SHAPE,
        count,
        lambda number: omniglot.rotation_task(number, found[number * size : (number + 1) * size]),
    )


def _cifar100_split(data: Cifar100) -> TaskList:
    def make(number: int) -> NamedTask:
        first = number * 10
        return task_of(f"cifar100-{first:02d}-{first + 9:02d}", data.fine, range(first, first + 10), validation=0.2)

    return TaskList(CIFAR_SHAPE, 10, make)


def _cifar100_superclass(data: Cifar100) -> TaskList:
    def make(number: int) -> NamedTask:
        name = f"cifar100-{data.superclasses[number].replace('_', '-')}"
        return task_of(name, data.fine, data.members[number], validation=0.2)

    return TaskList(CIFAR_SHAPE, len(data.members), make)


def _permuted_mnist(files: Files) -> TaskList:
    data = mnist(files)

    def make(number: int) -> NamedTask:
        order = permutation(28 * 28, number)

        def view(pictures: Tensor) -> Tensor:
            return pictures.flatten(1)[:, order].reshape(pictures.shape) if number else pictures

        return task_of(f"permuted-mnist-{number}", data, range(10), validation=0.1, view=view)

    return TaskList((1, 28, 28), 10, make)


def _fashion_mnist_split(files: Files) -> TaskList:
    data = fashion_mnist(files)

    def make(number: int) -> NamedTask:
        pair = (2 * number, 2 * number + 1)
        return task_of(f"fashion-mnist-{pair[0]}-{pair[1]}", data, pair, validation=0.1)

    return TaskList((1, 28, 28), 5, make)


def _five_datasets(files: Files) -> TaskList:
    found = five.present(files)

    def make(number: int) -> NamedTask:
        return task_of(found[number], five.DATASETS[found[number]].load(files), range(10), 0.1, five.coloured)

    return TaskList(five.SHAPE, len(found), make)


OF_CIFAR100: Mapping[str, Callable[[Cifar100], TaskList]] = {
    "cifar100-split": _cifar100_split,
    "cifar100-superclass": _cifar100_superclass,
}
OTHERS: Mapping[str, Callable[[Files], TaskList]] = {
    "digits": _digits,
    "omniglot-rotation": _omniglot_rotation,
    "permuted-mnist": _permuted_mnist,
    "fashion-mnist-split": _fashion_mnist_split,
    "five-datasets": _five_datasets,
}
BENCHMARKS = (*OTHERS, *OF_CIFAR100)
