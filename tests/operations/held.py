"""A network whose training waits for a file, so that a test decides how long it takes."""

import time
from pathlib import Path

from torch import Tensor, nn

FREE = 25
"""Training steps of a process before it waits: more than an epoch (two tasks together have one of 20 steps), so that an
attempt is saved, but not so many that a second process, going on where the first stopped, comes to the end."""


class Held(nn.Sequential):
    """A small network for 8x8 pictures."""

    def __init__(self, classes: int, gate: str) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, classes))
        self.gate, self.steps = Path(gate), 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.steps += self.training
        while self.training and self.steps > FREE and not self.gate.exists():
            time.sleep(0.05)
        logits: Tensor = super().forward(inputs)
        return logits


def network(input_shape: tuple[int, ...], classes: int, gate: str) -> nn.Module:
    """For NetworkConfig("tests.operations.held:network", {"gate": ...})."""
    return Held(classes, gate)
