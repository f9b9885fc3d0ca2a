"""Task folders from single samples, one after another: any torch Dataset."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset, IterableDataset

from apd.data.format import TaskInfo
from apd.data.packing.arrays import as_array, as_inputs
from apd.data.packing.pictures import picture_input
from apd.data.packing.samples import Sample, stacked
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
    a whole number from 0. classes: names in label order; None takes the Dataset's own `classes`, or else numbers.
    """
    given = {"train": train, "validation": validation, "test": test}
    names = getattr(train, "classes", None) if classes is None else classes
    chunks = {
        split: stacked(split, _samples(split, data, input_shape)) for split, data in given.items() if data is not None
    }
    return write_task(folder, name, chunks, None if names is None else [str(value) for value in names])


def _samples(split: str, data: Dataset[Any], input_shape: Shape | None) -> Iterator[Sample]:
    count = None if isinstance(data, IterableDataset) else len(data)  # type: ignore[arg-type]
    items = iter(data) if count is None else (data[row] for row in range(count))
    for row, sample in enumerate(items):
        place = f"{split}, sample {row}"
        value, label = _pair(sample, place)
        if isinstance(value, Image.Image):
            value = picture_input(value, input_shape, place)
        yield as_inputs(as_array(value)[None], input_shape, place)[0], _whole(label, place)


def _pair(sample: Any, place: str) -> tuple[Any, Any]:
    if not isinstance(sample, tuple | list) or len(sample) != 2:
        many = f" of {len(sample)}" if isinstance(sample, tuple | list) else ""
        raise DataError(f"{place}: found a {type(sample).__name__}{many}, expected a pair (input, label)")
    return sample[0], sample[1]


def _whole(label: Any, place: str) -> int:
    value = as_array(label)
    if value.size != 1 or value.dtype.kind not in "iub":
        raise DataError(f"{place}: label is {label!r:.100}, expected a whole number")
    return int(value.reshape(()))
