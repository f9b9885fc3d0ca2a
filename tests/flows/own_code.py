"""A user's own code, named on the command line as module:callable."""

from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset


class Named(TensorDataset):
    """With names for its classes."""

    classes = ("dark", "bright")


def pictures() -> Dataset:
    """Twenty pictures of two classes."""
    labels = torch.arange(20) % 2
    return Named((labels[:, None, None, None] * 200).expand(20, 1, 8, 8).to(torch.uint8), labels)


def broken() -> Dataset:
    """As code that fails."""
    raise OSError("the disk is gone")


def number() -> int:
    """No Dataset."""
    return 3


def network(input_shape: tuple[int, ...], classes: int, inputs: int = 64) -> nn.Module:
    """Fits pictures of 8x8 unless told otherwise."""
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, classes))


class Fragile(nn.Sequential):
    """Cannot take a batch of nothing but black pictures until somebody makes the file `mended`."""

    def __init__(self, classes: int, mended: str) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, classes))
        self.mended = Path(mended)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if not inputs.any() and not self.mended.exists():
            raise ValueError("nothing but black pictures")
        logits: torch.Tensor = super().forward(inputs)
        return logits


def fragile(input_shape: tuple[int, ...], classes: int, mended: str) -> nn.Module:
    """As code that fails for some data."""
    return Fragile(classes, mended)
