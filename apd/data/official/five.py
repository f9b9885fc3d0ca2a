"""Five datasets of ten classes each, brought to (3, 32, 32): what a network meets when the world changes altogether."""

import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
import torch
from scipy.io.matlab import MatReadError
from torch import Tensor
from torch.nn import functional as F

from apd.config import SplitConfig
from apd.data.official.cifar import cifar10
from apd.data.official.idx import DIGITS, fashion_mnist, mnist
from apd.data.official.labelled import Labelled
from apd.data.official.sources import CIFAR10, FASHION_MNIST, MNIST, NOTMNIST, SVHN, Files, Source
from apd.data.packing.pictures import picture_bytes
from apd.data.splits import Split, split_rows
from apd.errors import DataError

SHAPE = (3, 32, 32)
LETTERS = tuple("ABCDEFGHIJ")


def coloured(pictures: Tensor) -> Tensor:
    """(N, 1, 28, 28) or (N, 3, 32, 32) -> (N, 3, 32, 32): two black pixels around, the grey in every channel."""
    return pictures.clone() if pictures.shape[1] == 3 else F.pad(pictures, (2, 2, 2, 2)).repeat(1, 3, 1, 1)


def svhn(files: Files) -> Labelled:
    """73,257 and 26,032 house numbers, cropped to their digits."""
    train, test = (_mat(files.path(source)) for source in SVHN)
    return Labelled(train, test, DIGITS)


def _mat(path: Path) -> Split:
    """X (32, 32, 3, N) uint8 and y (N, 1), where the digit 0 is labelled 10."""
    try:
        content = scipy.io.loadmat(path, variable_names=("X", "y"))
        pictures, labels = content["X"], content["y"]
    except (OSError, KeyError, ValueError, TypeError, NotImplementedError, MatReadError) as error:
        raise DataError(f"{path} is not a readable file of format 2: {error!r}") from None
    inputs = torch.from_numpy(np.ascontiguousarray(pictures.transpose(3, 2, 0, 1)))
    return Split(inputs, torch.from_numpy(labels.reshape(-1).astype(np.int64)) % 10)


def notmnist(files: Files) -> Labelled:
    """About 18,700 letters A to J in many typefaces, (1, 28, 28); a tenth of each, always the same, is the test split.

    The official archive holds two pictures that cannot be read; those are left out, and noted.
    """
    path = files.path(NOTMNIST)
    pictures, labels, unreadable = [], [], []
    for member, content in _letters(path):
        try:
            pictures.append(torch.from_numpy(picture_bytes(content, (1, 28, 28), member)))
            labels.append(LETTERS.index(member.split("/")[-2]))
        except DataError:
            unreadable.append(member)
    if unreadable:
        files.note(f"{NOTMNIST.file}: left out {len(unreadable)} unreadable pictures")
    samples = Split(torch.stack(pictures), torch.tensor(labels))
    train, _, test = split_rows(samples.labels, SplitConfig(test=0.1), validation=False, test=True)
    return Labelled(samples.take(train), samples.take(test), LETTERS)


def _letters(path: Path) -> Iterator[tuple[str, bytes]]:
    """(member, content) of every picture, folder by folder."""
    try:
        with tarfile.open(path) as archive:
            members = {member.name: member for member in archive if member.isfile() and member.name.endswith(".png")}
            for name in sorted(members):
                found = archive.extractfile(members[name])
                if found is not None:
                    yield name, found.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{path} is not a readable archive: {error}") from None


@dataclass(frozen=True, slots=True)
class Dataset:
    """One of the five."""

    sources: tuple[Source, ...]
    load: Callable[[Files], Labelled]


DATASETS: Mapping[str, Dataset] = {
    "mnist": Dataset(MNIST, mnist),
    "fashion-mnist": Dataset(FASHION_MNIST, fashion_mnist),
    "notmnist": Dataset((NOTMNIST,), notmnist),
    "cifar10": Dataset((CIFAR10,), cifar10),
    "svhn": Dataset(SVHN, svhn),
}
"""In the order of tasks."""


def present(files: Files) -> list[str]:
    """Names of the datasets whose files are all there; the others are noted. DataError if there is none."""
    found = [name for name, dataset in DATASETS.items() if all(map(files.has, dataset.sources))]
    for name in sorted(DATASETS.keys() - found):
        absent = next(source for source in DATASETS[name].sources if not files.has(source))
        files.note(f"without {name}: {absent.file} is absent; get it from {absent.page}")
    if not found:
        raise DataError(f"{files.folder} holds none of {', '.join(DATASETS)}: {'; '.join(files.notes)}")
    return found
