"""Task folders from numpy's own files: one .npz, or a folder of .npy."""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from apd.data.format import TaskInfo
from apd.data.packing.arrays import pack_arrays
from apd.data.packing.samples import ALIASES, own_classes
from apd.data.rows import Array
from apd.errors import DataError
from apd.state import Shape

PAIRS = (("{}_inputs", "{}_labels"), ("{}_images", "{}_labels"), ("x_{}", "y_{}"), ("{}_x", "{}_y"))
"""What files of arrays call the inputs and labels of one split."""
UNSPLIT = (("inputs", "labels"), ("images", "labels"), ("x", "y"))
"""What they call them where everything is one split, train."""


def pack_numpy(
    source: Path,
    folder: Path,
    name: str,
    classes: Sequence[str] | None = None,
    *,
    input_shape: Shape | None = None,
    channels_last: bool = False,
) -> TaskInfo:
    """Make `folder` a task from a .npz file, or from a folder of .npy files, which are read a part at a time.

    Array names tell split and content: train_inputs and train_labels, train_images and train_labels, x_train and
    y_train, train_x and train_y, likewise val, valid or validation, and test; or inputs and labels, images and labels,
    x and y of train alone. An array `classes` of strings may name the classes. Everything else is as in `pack_arrays`;
    an array with any other name is a DataError.
    """
    arrays = load_arrays(source)
    if classes is None and "classes" in arrays:
        classes = own_classes(str(source), arrays.pop("classes"))
    pairs = {split: (arrays[inputs], arrays[labels]) for split, (inputs, labels) in _pairs(source, arrays).items()}
    return pack_arrays(folder, name, **pairs, classes=classes, input_shape=input_shape, channels_last=channels_last)


def load_arrays(source: Path) -> dict[str, Array]:
    """The arrays of a .npz or .npy file or of a folder of .npy files, by name; DataError if one cannot be read."""
    arrays: dict[str, Array] = {}
    for file in sorted(source.glob("*.npy")) if source.is_dir() else [source]:
        try:
            arrays |= (
                _archive(file) if file.suffix == ".npz" else {file.stem: np.lib.format.open_memmap(file, mode="r")}
            )
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{file} is not a readable file of arrays: {error}") from None
    return arrays


def _archive(file: Path) -> dict[str, Array]:
    with zipfile.ZipFile(file) as archive:
        arrays = {}
        for member in archive.namelist():
            with archive.open(member) as content:
                arrays[member.removesuffix(".npy")] = np.lib.format.read_array(content, allow_pickle=False)
    return arrays


def _pairs(source: Path, arrays: Mapping[str, Array]) -> dict[str, tuple[str, str]]:
    """Names of the inputs and labels of each split. DataError if any array is left over, or train is missing."""
    found: dict[str, tuple[str, str]] = {}
    for split, aliases in ALIASES.items():
        known = [(inputs.format(alias), labels.format(alias)) for alias in aliases for inputs, labels in PAIRS]
        for pair in [*known, *(UNSPLIT if split == "train" else ())]:
            if set(pair) <= set(arrays):
                found.setdefault(split, pair)
    rest = sorted(set(arrays) - {name for pair in found.values() for name in pair})
    if rest or "train" not in found:
        problem = f"array {rest[0]!r} is unknown or has no partner" if rest else "there is no train"
        raise DataError(
            f"{source} has the arrays {sorted(arrays)}: {problem}; expected pairs like train_inputs and train_labels "
            "(or x_train and y_train), likewise val and test, or only inputs and labels"
        )
    return found
