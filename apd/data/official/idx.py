"""MNIST's file format, gzipped: MNIST itself and Fashion-MNIST."""

import gzip
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
import torch

from apd.data.official.labelled import Labelled
from apd.data.official.sources import FASHION_MNIST, MNIST, Files, Source
from apd.data.rows import Array
from apd.data.splits import Split
from apd.errors import DataError

DIGITS = tuple("0123456789")
CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def mnist(files: Files) -> Labelled:
    """60,000 and 10,000 handwritten digits, (1, 28, 28)."""
    return _dataset(files, MNIST, DIGITS)


def fashion_mnist(files: Files) -> Labelled:
    """60,000 and 10,000 pieces of clothing, (1, 28, 28)."""
    return _dataset(files, FASHION_MNIST, CLOTHES)


def _dataset(files: Files, sources: Sequence[Source], classes: tuple[str, ...]) -> Labelled:
    train_inputs, train_labels, test_inputs, test_labels = (read_idx(files.path(source)) for source in sources)
    return Labelled(_split(train_inputs, train_labels), _split(test_inputs, test_labels), classes)


def _split(inputs: Array, labels: Array) -> Split:
    return Split(torch.from_numpy(inputs).unsqueeze(1), torch.from_numpy(labels).long())


def read_idx(path: Path) -> Array:
    """The array of bytes in a gzipped file: 0, 0, type 8, number of dimensions, sizes (4 bytes each), values."""
    try:
        with gzip.open(path) as file:
            content = bytearray(file.read())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a readable gzip file: {error}") from None
    if content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise DataError(f"{path} begins with {bytes(content[:4]).hex()}; expected 000008 and the number of dimensions")
    start = 4 + 4 * content[3]
    sizes = [int(size) for size in np.frombuffer(content, ">i4", count=content[3], offset=4)]
    if len(content) - start != prod(sizes):
        raise DataError(f"{path} holds {len(content) - start} values; expected {sizes} as its header says")
    return np.frombuffer(content, np.uint8, offset=start).reshape(sizes)
