"""Task folders from arrays in memory, and how any values become the inputs and labels of the task format."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from apd.config import Dtype
from apd.data.format import TaskInfo
from apd.data.packing.samples import given_classes
from apd.data.rows import Array, Chunk, rows_at_once
from apd.data.write import write_task
from apd.errors import DataError
from apd.state import Shape

Arrays = tuple[Any, Any]
"""Inputs (N, ...) and labels (N,): numpy arrays, tensors or nested lists."""


def pack_arrays(
    folder: Path,
    name: str,
    train: Arrays,
    validation: Arrays | None = None,
    test: Arrays | None = None,
    classes: Sequence[str] | None = None,
    *,
    input_shape: Shape | None = None,
    channels_last: bool = False,
) -> TaskInfo:
    """Make `folder` a task from arrays of inputs and labels.

    Inputs are uint8, or floats, which become float32. input_shape: what one input must be; a missing channel dimension
    of size 1 is added. channels_last: inputs are (N, height, width, channels) and are turned, or (N, height, width) in
    grey and are not. Labels are whole numbers or strings; with `classes` numbers are indices into it, without they are
    values, named by themselves in ascending order. DataError names the split that cannot be used, and the row where one
    is at fault.
    """
    given = {"train": train, "validation": validation, "test": test}
    inputs = {split: as_array(pair[0], f"{split}, inputs") for split, pair in given.items() if pair is not None}
    labels = {
        split: _flat(split, as_array(pair[1], f"{split}, labels")) for split, pair in given.items() if pair is not None
    }
    names, codes = _encode(labels, given_classes(classes))
    if channels_last:
        inputs = {split: _turned(split, values, input_shape) for split, values in inputs.items()}
    chunks = {split: _chunks(split, values, codes[split], input_shape) for split, values in inputs.items()}
    return write_task(folder, name, chunks, names)


def as_array(values: Any, place: str = "inputs", dtype: Dtype | None = None) -> Array:
    """A numpy array of a tensor on any device, an array or nested lists; DataError names the place if there is none.

    dtype: what whole numbers in lists become, because Python's have no size of their own; uint8 only where they fit.
    """
    try:
        found = np.asarray(_without_tensors(values))
    except (TypeError, ValueError, RuntimeError) as error:
        of = f"tensor {values.dtype} {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise DataError(
            f"{place}: found a {of} that numpy cannot hold ({error}); expected an array, equally long lists, or a "
            "dense tensor (.to_dense()) of a dtype that numpy has (.float())"
        ) from None
    if dtype is None or not isinstance(values, list | tuple) or found.dtype.kind not in "iu":
        return found
    fits = dtype != "uint8" or (found.min(initial=0) >= 0 and found.max(initial=0) <= 255)
    return found.astype(dtype) if fits else found


def _without_tensors(values: Any) -> Any:
    """The same with arrays for tensors: numpy itself takes none that need gradients or are on another device."""
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    return [_without_tensors(value) for value in values] if isinstance(values, list | tuple) else values


def as_inputs(values: Array, input_shape: Shape | None, place: str) -> Array:
    """Inputs (n, ...) as uint8 or float32 (n, *input_shape); only a channel dimension of size 1 may be missing.

    What is returned is writable and contiguous, so that torch can share it.
    """
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused as such
            values = values.astype(np.float32, copy=False)
    elif values.dtype != np.uint8:
        raise DataError(f"{place}: inputs are {values.dtype}, expected uint8 (0..255) or floats")
    values = np.require(values, requirements=["C_CONTIGUOUS", "ALIGNED", "WRITEABLE"])
    found = values.shape[1:]
    if input_shape is None or found == tuple(input_shape):
        return values
    if (1, *found) == tuple(input_shape):
        return values[:, None]
    hint = "; are its channels last?" if found[-1:] + found[:-1] == tuple(input_shape) else ""
    raise DataError(f"{place}: one input is {found}, expected {tuple(input_shape)}{hint}")


def _turned(split: str, inputs: Array, input_shape: Shape | None) -> Array:
    """Inputs (N, ..., channels) as (N, channels, ...); those without an axis of channels stay as they are."""
    axes = 1 + (3 if input_shape is None else len(input_shape))
    if inputs.ndim not in (axes, axes - 1):
        raise DataError(
            f"{split}: inputs are {inputs.shape}, expected {axes} axes, the channels last, or {axes - 1} without any"
        )
    return np.moveaxis(inputs, -1, 1) if inputs.ndim == axes else inputs


def _chunks(split: str, inputs: Array, labels: Array, input_shape: Shape | None) -> Iterator[Chunk]:
    if not inputs.ndim or len(inputs) != len(labels):
        raise DataError(f"{split}: found inputs {inputs.shape} and {len(labels)} labels, expected one label per input")
    step = rows_at_once(max(1, inputs[:1].nbytes))
    for start in range(0, len(labels), step):
        yield as_inputs(inputs[start : start + step], input_shape, split), labels[start : start + step]


def _flat(split: str, labels: Array) -> Array:
    """Labels (N,) of whole numbers or strings; a column (N, 1) is flattened."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind in "OT":  # as pandas holds strings, categories and whole numbers some of which may be missing
        values = labels.ravel().tolist()
        kind = next((kind for kind in (str, int) if all(isinstance(value, kind) for value in values)), object)
        labels = labels.astype(kind)
    if labels.ndim != 1 or labels.dtype.kind not in "iubU":
        raise DataError(f"{split}: labels are {labels.dtype} {labels.shape}, expected (N,) whole numbers or strings")
    return labels


def _encode(labels: Mapping[str, Array], classes: Sequence[str] | None) -> tuple[list[str], dict[str, Array]]:
    """Class names, and the labels of each split as int64 indices into them."""
    strings = {split for split, values in labels.items() if values.dtype.kind == "U"}
    if strings and strings != set(labels):
        raise DataError(f"labels of {', '.join(sorted(strings))} are strings, those of other splits are numbers")
    if classes is not None and not strings:
        return list(classes), {split: values.astype(np.int64) for split, values in labels.items()}
    found = sorted(set().union(*(np.unique(values).tolist() for values in labels.values())))
    known = found if classes is None else list(classes)
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise DataError(
            f"found label {unknown[0]!r}, expected one of {len(known)} classes: {', '.join(map(str, known))}"
        )
    index = {value: place for place, value in enumerate(known)}
    codes = {split: np.array([index[value] for value in part.tolist()], np.int64) for split, part in labels.items()}
    return [str(value) for value in known], codes
