"""Streams of a few small tasks, learned in this process."""

import torch
from torch import Tensor

from apd.config import NetworkConfig
from apd.learner import Learner

SHAPE = (1, 4, 4)
NETWORK = NetworkConfig("mlp", {"hidden": [12, 8]})
SETTINGS = {"epochs": 3, "batch_size": 10, "learning_rate": 0.01, "capacity_per_task": 0.2, "max_accuracy_drop": 1.0}
SHARING = {"tolerance": 0.3, "least_saving": 1, "clusters_per_round": 1, "consolidate_every": 3}
"""After three tasks a consolidation, which finds something to share, whatever that costs."""


def samples(seed: int, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Noisy pictures of so many random patterns."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randn(classes, *SHAPE, generator=generator)
    labels = torch.arange(60) % classes
    return patterns[labels] + 0.3 * torch.randn(60, *SHAPE, generator=generator), labels


def noise() -> tuple[Tensor, Tensor]:
    """Nothing to learn: inputs that know nothing of their labels, seven in ten of which are 0."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(60, *SHAPE, generator=generator), (torch.arange(60) % 10 >= 7).long()


def learner(count: int, **settings: object) -> Learner:
    """So many learned tasks: task-0 with two classes, task-1 with three, and so on in turn. Its stream goes with it."""
    made = Learner(NETWORK, SHAPE, **{**SETTINGS, "consolidate_every": 100, **settings})
    for number in range(count):
        made.learn(f"task-{number}", samples(number, classes=2 + number % 2))
    return made
