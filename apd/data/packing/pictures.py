"""Task folders from folders of pictures, and how one picture becomes an input."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from apd.data.format import TaskInfo
from apd.data.packing.samples import ALIASES, Sample, stacked
from apd.data.rows import Array
from apd.data.write import write_task
from apd.errors import DataError
from apd.state import Shape

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's mode for a number of channels."""
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def pack_image_folder(source: Path, folder: Path, name: str, *, input_shape: Shape) -> TaskInfo:
    """Make `folder` a task from a folder of pictures with one sub-folder per class, named as the class.

    Where `source` has a sub-folder train, it and its neighbours (val, valid or validation; test) hold the class folders
    instead. Every picture is converted and resized to input_shape (channels, height, width), 8 bits a channel. Hidden
    files are passed over; DataError names any other file that is no readable picture, or is in no class folder.
    """
    if not source.is_dir():
        raise DataError(f"{source} is not a folder; expected one with a sub-folder of pictures per class")
    splits = _split_folders(source)
    classes = [path.name for path in _folders(splits["train"])]
    chunks = {split: stacked(split, _samples(path, classes, input_shape)) for split, path in splits.items()}
    return write_task(folder, name, chunks, classes)


def picture_file(source: Path | IO[bytes], input_shape: Shape | None, place: str) -> Array:
    """Decode one picture file as `picture_input` does; DataError names the place if it cannot be read."""
    try:
        with Image.open(source) as picture:
            return picture_input(picture, input_shape, place)
    except UnidentifiedImageError:  # its text names the file object, which for bytes is an address in memory
        raise DataError(f"{place} is not a readable picture: cannot identify its format") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{place} is not a readable picture: {error}") from None


def picture_bytes(content: bytes, input_shape: Shape | None, place: str) -> Array:
    """As `picture_file`, from memory."""
    return picture_file(BytesIO(content), input_shape, place)


def picture_input(picture: Image.Image, input_shape: Shape | None, place: str) -> Array:
    """One picture as uint8 (channels, height, width), upright, stretched to that size, transparent parts white.

    input_shape None keeps the picture's own size, in grey or colour as it is.
    """
    if input_shape is not None and (len(input_shape) != 3 or input_shape[0] not in MODES):
        raise DataError(f"a picture cannot be an input {input_shape}; expected (1, 3 or 4 channels, height, width)")
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        raise DataError(
            f"{place} has more than 8 bits a channel (mode {picture.mode}); convert it, or pack arrays of float32"
        )
    upright = ImageOps.exif_transpose(picture)
    channels = (1 if upright.mode in ("1", "L") else 3) if input_shape is None else input_shape[0]
    if upright.has_transparency_data and channels < 4:
        white = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(white, upright.convert("RGBA"))
    converted = upright.convert(MODES[channels])
    if input_shape is not None and converted.size != (input_shape[2], input_shape[1]):
        converted = converted.resize((input_shape[2], input_shape[1]), Image.Resampling.BILINEAR)
    return np.array(np.atleast_3d(np.asarray(converted)).transpose(2, 0, 1), order="C")


def _split_folders(source: Path) -> dict[str, Path]:
    """The folder of each split; `source` itself is train where it holds no folder of that name."""
    names = {path.name for path in _folders(source)}
    if "train" not in names:
        return {"train": source}
    found = {split: [alias for alias in aliases if alias in names] for split, aliases in ALIASES.items()}
    odd = sorted(names - {alias for aliases in found.values() for alias in aliases[:1]})
    if odd:
        raise DataError(
            f"{source} has a folder 'train', so its folders should be splits, but {odd[0]!r} is not one of validation "
            "(or val, valid) and test, or is one too many; if these are classes, put them into a folder of their own"
        )
    return {split: source / aliases[0] for split, aliases in found.items() if aliases}


def _folders(path: Path) -> list[Path]:
    """Sub-folders in the order of their names, hidden ones left out; DataError names a file among them."""
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    files = [entry for entry in entries if not entry.is_dir()]
    if files:
        raise DataError(
            f"{files[0]} is in no class folder; expected {path} to hold only folders, and they the pictures"
        )
    return entries


def _samples(split: Path, classes: list[str], input_shape: Shape) -> Iterator[Sample]:
    """Every picture of a split and its label, class by class."""
    for folder in _folders(split):
        if folder.name not in classes:
            raise DataError(f"{folder} is a class that train does not have; expected some of {', '.join(classes)}")
        files = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        if not files:
            raise DataError(f"{folder} is empty; expected pictures of the class {folder.name!r}")
        for file in files:
            if file.is_dir():
                raise DataError(
                    f"{file} is a folder, but the folders in {split} are taken for classes, which hold pictures only; "
                    "folders of splits are called train, validation (or val, valid) and test"
                )
            if file.suffix.lower() not in SUFFIXES:
                raise DataError(f"{file} is not a picture; expected {', '.join(sorted(SUFFIXES))}")
            yield picture_file(file, input_shape, str(file)), classes.index(folder.name)
