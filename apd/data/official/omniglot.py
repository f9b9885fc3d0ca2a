"""Omniglot as tasks: twelve handwritten characters each, seen in four rotations, split by who drew them.

Characters are in the order of their paths, the background set first; consecutive groups of twelve are the tasks, up to
a hundred. The four rotations of a character are one class. Of its twenty drawers 1 to 13 train, 14 and 15 validate and
16 to 20 test, so that no rotated copy of a drawing that was trained on is tested. Drawings are shrunk to 28x28; paper
is 0 and ink 255.
"""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from apd.data.official.sources import OMNIGLOT, Files
from apd.data.packing.pictures import picture_bytes
from apd.data.splits import Split, TaskData
from apd.data.tasks import NamedTask
from apd.errors import DataError

SHAPE = (1, 28, 28)
CLASSES = 12
TASKS = 100
DRAWERS = {"train": range(13), "validation": range(13, 15), "test": range(15, 20)}


@dataclass(frozen=True, slots=True, eq=False)
class Character:
    """One character and its twenty drawings."""

    name: str
    """Alphabet and number."""
    drawings: tuple[tuple[str, bytes], ...]
    """Where each is from, and its encoded picture, in the order of drawers."""


def characters(files: Files) -> list[Character]:
    """All characters of both archives, in order."""
    return [character for source in OMNIGLOT for character in _of_archive(files.path(source))]


def rotation_task(number: int, chosen: list[Character]) -> NamedTask:
    """The task of telling twelve characters apart, however they are turned."""
    drawn = torch.stack([_drawings(character) for character in chosen])  # (12 characters, 20 drawers, 1, 28, 28)
    data = TaskData(*(_rotations(drawn[:, list(drawers)]) for drawers in DRAWERS.values()))
    return NamedTask(f"omniglot-{number:02d}", tuple(character.name for character in chosen), data)


def _rotations(drawn: Tensor) -> Split:
    """(characters, drawers, 1, 28, 28) -> every drawing in its four rotations, labelled with its character."""
    turned = torch.stack([drawn.rot90(quarter, dims=(3, 4)) for quarter in range(4)], dim=2)
    labels = torch.arange(len(drawn)).repeat_interleave(turned.shape[1] * 4)
    return Split(turned.reshape(-1, *SHAPE), labels)


def _of_archive(path: Path) -> list[Character]:
    folders: dict[str, list[tuple[str, bytes]]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in sorted(name for name in archive.namelist() if name.endswith(".png")):
                drawing = (f"{path}, {member}", archive.read(member))
                folders.setdefault(member.rpartition("/")[0], []).append(drawing)
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is not a readable zip file: {error}") from None
    for folder, drawings in folders.items():
        if len(drawings) != 20:
            raise DataError(f"{path}, {folder} holds {len(drawings)} drawings; expected 20, one per drawer")
    return [Character(folder.partition("/")[2], tuple(drawings)) for folder, drawings in folders.items()]


def _drawings(character: Character) -> Tensor:
    """(20, 1, 28, 28) uint8."""
    pictures = [torch.from_numpy(picture_bytes(content, SHAPE, place)) for place, content in character.drawings]
    return 255 - torch.stack(pictures)
