"""Task folders from single samples, one after another: any torch Dataset."""

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset, IterableDataset

from apd.data.format import TaskInfo
from apd.data.packing.arrays import as_array, as_inputs
from apd.data.packing.pictures import picture_input
from apd.data.packing.samples import Sample, given_classes, own_classes, relabelled, stacked
from apd.data.write import write_task
from apd.errors import DataError
from apd.state import Shape


def pack_dataset(
    train: Dataset[Any],
    folder: Path,
    name: str,
    validation: Dataset[Any] | None = None,
    test: Dataset[Any] | None = None,
    classes: Sequence[str] | None = None,
    *,
    input_shape: Shape | None = None,
) -> TaskInfo:
    """Make `folder` a task from torch Datasets of (input, label), each read once, one sample at a time.

    An input is a tensor or array of uint8 or floats, or a Pillow picture, which is resized to `input_shape`; a label is
    a whole number from 0. classes: names in label order; None takes those of the Dataset `train`, its `classes`, or
    else numbers. Labels of another Dataset with `classes` of its own are then those of the same names in train.
    """
    given = {"train": train, "validation": validation, "test": test}
    datasets = {split: data for split, data in given.items() if data is not None}
    own = {} if classes is not None else {split: _own_classes(split, data) for split, data in datasets.items()}
    names = own.get("train") if classes is None else given_classes(classes)
    chunks = {
        split: stacked(split, relabelled(split, _samples(split, data, input_shape), own.get(split), names))
        for split, data in datasets.items()
    }
    return write_task(folder, name, chunks, names)


def _own_classes(split: str, data: Dataset[Any]) -> list[str] | None:
    found = getattr(data, "classes", None)
    return None if found is None else own_classes(split, found)


def _samples(split: str, data: Dataset[Any], input_shape: Shape | None) -> Iterator[Sample]:
    for row, sample in enumerate(_items(split, data)):
        place = f"{split}, sample {row}"
        value, label = _pair(sample, place)
        if isinstance(value, Image.Image):
            value = picture_input(value, input_shape, place)
        yield as_inputs(as_array(value, place)[None], input_shape, place)[0], _whole(label, place)


def _items(split: str, data: Dataset[Any]) -> Iterator[Any]:
    """What the Dataset gives, in order; DataError names the sample for which it raised."""
    if not isinstance(data, IterableDataset) and not hasattr(data, "__len__"):
        raise DataError(f"{split}: found a {type(data).__name__} without __len__, expected one, or an IterableDataset")
    rest = _unchecked(data)
    for row in count():
        try:
            item = next(rest)
        except StopIteration:
            return
        except Exception as error:
            raise DataError(f"{split}, sample {row}: reading it raised {type(error).__name__}: {error}") from error
        yield item


def _unchecked(data: Dataset[Any]) -> Iterator[Any]:
    if isinstance(data, IterableDataset):
        yield from data
    else:
        for row in range(len(data)):  # type: ignore[arg-type]
            yield data[row]


def _pair(sample: Any, place: str) -> tuple[Any, Any]:
    if not isinstance(sample, tuple | list) or len(sample) != 2:
        many = f" of {len(sample)}" if isinstance(sample, tuple | list) else ""
        raise DataError(f"{place}: found a {type(sample).__name__}{many}, expected a pair (input, label)")
    return sample[0], sample[1]


def _whole(label: Any, place: str) -> int:
    value = as_array(label, place)
    if value.size != 1 or value.dtype.kind not in "iub":
        raise DataError(f"{place}: label is {label!r:.100}, expected a whole number")
    return int(value.reshape(()))
