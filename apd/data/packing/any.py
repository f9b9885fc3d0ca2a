"""What a command line names, a path or `module:callable`, given to the packer or reader that knows its kind."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from apd.config import StreamConfig
from apd.data.format import TaskInfo
from apd.data.packing.arrays import as_inputs
from apd.data.packing.datasets import pack_dataset
from apd.data.packing.files import load_arrays, pack_numpy
from apd.data.packing.parquet import pack_parquet
from apd.data.packing.pictures import SUFFIXES, pack_image_folder, picture_file
from apd.data.packing.samples import ALIASES
from apd.data.validate import check_fits
from apd.data.write import unfinish
from apd.errors import DataError, TaskRejected
from apd.importing import import_callable


def pack(
    source: str,
    folder: Path,
    name: str,
    config: StreamConfig,
    *,
    classes: Sequence[str] | None = None,
    channels_last: bool = False,
    picture: str | None = None,
    label: str | None = None,
) -> TaskInfo:
    """Make `folder` a task of this stream from one of several kinds of source, told apart by what is there.

        a folder of pictures            pack_image_folder
        a .parquet file, or a folder    pack_parquet: train, val, test by the beginning of the files' names
        a .npz file, a folder of .npy   pack_numpy
        module:callable                 pack_dataset, with callable() a Dataset, or Datasets by split

    picture, label: columns of Parquet. DataError if it is none of them, if it and `folder` lie in one another, or if it
    does not fit the stream.
    """
    shape, path = config.input_shape, Path(source)
    _check_apart(path, folder)
    if (path.suffix == ".npz" and path.exists()) or _holds(path, "*.npy"):
        info = pack_numpy(path, folder, name, classes, input_shape=shape, channels_last=channels_last)
    elif (path.suffix == ".parquet" and path.exists()) or _holds(path, "*.parquet"):
        files = _parquet_splits(path)
        info = pack_parquet(
            folder=folder, name=name, classes=classes, input_shape=shape, picture=picture, label=label, **files
        )
    elif path.is_dir():
        info = pack_image_folder(path, folder, name, input_shape=shape)
    elif ":" in source and not path.exists():
        info = pack_dataset(folder=folder, name=name, classes=classes, input_shape=shape, **_datasets(source))
    else:
        found = "exists but is of another kind" if path.exists() else "does not exist"
        raise DataError(f"{source} {found}; expected a folder of pictures, .parquet, .npz, .npy or module:callable")
    try:
        check_fits(info, config)
    except TaskRejected:
        unfinish(folder)  # it is a task, but none of this stream
        raise
    return info


def read_inputs(path: Path, config: StreamConfig) -> Tensor:
    """The inputs (N, *input_shape) of a picture, or of a .npy or .npz file with one array, in the stream's dtype."""
    if not path.is_file():
        raise DataError(
            f"{path} {'is a folder' if path.is_dir() else 'does not exist'}; expected a picture, .npy or .npz"
        )
    if path.suffix.lower() in SUFFIXES:
        values = picture_file(path, config.input_shape, str(path))[None]
    else:
        arrays = load_arrays(path)
        if len(arrays) != 1:
            raise DataError(f"{path} has the arrays {sorted(arrays)}; expected one, of inputs")
        (found,) = arrays.values()
        single = found.shape == config.input_shape
        values = as_inputs(found[None] if single else found, config.input_shape, str(path))
    if not len(values):
        raise DataError(f"{path} holds no inputs; expected one at least")
    if values.dtype != np.dtype(config.input_dtype):
        raise DataError(f"{path} holds {values.dtype} inputs, but the stream takes {config.input_dtype}")
    if not np.isfinite(values).all():
        raise DataError(f"{path} holds values that are not finite numbers")
    return torch.from_numpy(values)


def _check_apart(source: Path, folder: Path) -> None:
    """Raise DataError for a source that is the folder to be made, lies in it or holds it."""
    target, place = folder.resolve(), source.resolve()
    if not source.exists():
        return
    if target in (place, *place.parents):
        where = "is" if place == target else "lies in"
        raise DataError(f"{source} {where} {folder}, where the task would be made; choose another folder for the task")
    if place in target.parents:
        raise DataError(f"{source} holds {folder}, where the task would be made; choose a folder outside of it")


def _holds(path: Path, pattern: str) -> bool:
    return path.is_dir() and any(path.glob(pattern))


def _parquet_splits(path: Path) -> dict[str, list[Path]]:
    if path.is_file():
        return {"train": [path]}
    files = sorted(path.glob("*.parquet"))
    found = {split: [file for file in files if file.name.startswith(aliases)] for split, aliases in ALIASES.items()}
    odd = set(files) - {file for group in found.values() for file in group}
    if odd or not found["train"]:
        problem = f"{min(odd).name} begins with no split's name" if odd else "none begins with train"
        raise DataError(f"{path} has {len(files)} Parquet files but {problem}; expected train, val or test")
    return found


def _datasets(source: str) -> Mapping[str, Dataset[Any]]:
    make = import_callable("dataset", source)
    try:
        made = make()
    except Exception as error:
        raise DataError(f"calling {source} raised {type(error).__name__}: {error}") from error
    splits = made if isinstance(made, Mapping) else {"train": made}
    wrong = [key for key, value in splits.items() if key not in ALIASES or not isinstance(value, Dataset)]
    if wrong or "train" not in splits:
        shown = {key: type(value).__name__ for key, value in splits.items()}
        raise DataError(f"{source} gave {shown}; expected a torch Dataset, or Datasets by train, validation and test")
    return splits
