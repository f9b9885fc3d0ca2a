"""Tasks and networks small enough to train in a fraction of a second."""

import torch
from torch import nn

from apd.data import Split, TaskData
from apd.networks import Network, of_module

SIZE, CLASSES = 12, 3
PRECISIONS = ("float32", "bfloat16")


def network() -> Network:
    """Two shared weights, their biases, a head."""

    def build(classes: int) -> nn.Module:
        return nn.Sequential(nn.Linear(SIZE, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, classes))

    return of_module(build, (SIZE,))


def normalised_network() -> Network:
    """With a buffer that forward moves and a layer that draws random numbers."""

    def build(classes: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(SIZE, 16),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(16, 16),
            nn.Linear(16, classes),
        )

    return of_module(build, (SIZE,))


def data(seed: int, samples: int = 60, classes: int = CLASSES) -> TaskData:
    """Gaussian clouds around one random centre per class; other seeds put the centres elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(classes, SIZE, generator=generator)

    def split(count: int) -> Split:
        labels = torch.arange(count) % classes
        return Split(centres[labels] + torch.randn(count, SIZE, generator=generator), labels)

    return TaskData(split(samples), split(30), split(30))
