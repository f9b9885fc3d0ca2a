"""What a training step of APD costs beside a plain AdamW step of the same network: `python -m tests.bench.step_cost`.

One process and thread, batch 100, the paper's LeNet on 3x32x32. Rounds alternate between the contestants, so that a
busy machine slows all of them, and the median of the rounds counts.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch.nn import functional

from apd.baselines import SeparateNetwork
from apd.config import LearningConfig, NetworkConfig, StreamConfig
from apd.data import Split, TaskData
from apd.networks import Network, from_config
from apd.state import FIRST, Arrival
from apd.training import Fit

CLASSES, BATCH, ROUNDS, STEPS = 5, 100, 15, 4


def plain(network: Network, inputs: torch.Tensor, labels: torch.Tensor, fused: bool) -> Callable[[], None]:
    """What anyone would write: the module itself, cross-entropy, torch's AdamW."""
    module = network.build(CLASSES)
    adam = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=0.01, fused=fused or None)

    def step() -> None:
        adam.zero_grad()
        functional.cross_entropy(module(inputs.float() / 255), labels).backward()
        adam.step()

    return step


def arrival(network: Network, earlier: int) -> Arrival:
    spec, initial = network.spec(CLASSES), network.initial(CLASSES, 0)
    masks = {name: torch.full(shape[:1], 0.9 * earlier) for name, shape in spec.shared.items()}
    return Arrival({name: initial[name] for name in spec.shared}, masks, earlier)


def contestants() -> dict[str, Callable[[], None]]:
    network = from_config(StreamConfig(input_shape=(3, 32, 32), network=NetworkConfig("lenet")))
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (BATCH, 3, 32, 32), dtype=torch.uint8, generator=generator)
    split = Split(inputs, torch.arange(BATCH) % CLASSES)
    data = TaskData(split, split, split)

    def ours(arrived: Arrival, **settings: float | None) -> Callable[[], None]:
        training = Fit(network, "bench", CLASSES, data, arrived, LearningConfig(**settings))
        return lambda: training._step(split.inputs, split.labels, BATCH)

    separate = SeparateNetwork(network, "bench", CLASSES, data, LearningConfig())
    return {
        "torch.optim.AdamW, fused": plain(network, split.inputs, split.labels, fused=True),
        "torch.optim.AdamW": plain(network, split.inputs, split.labels, fused=False),
        "separate network": lambda: separate._step(split.inputs, split.labels, BATCH),
        "APD, first task": ours(FIRST),
        "APD, t = 2": ours(arrival(network, 1)),
        "APD, t = 200": ours(arrival(network, 199)),
        "APD, t = 2, l1 instead of a budget": ours(arrival(network, 1), capacity_per_task=None, sparsity=4e-4),
    }


def main() -> None:
    torch.set_num_threads(1)
    steps = contestants()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            step()
            started = time.process_time()
            for _ in range(STEPS):
                step()
            seconds[name].append((time.process_time() - started) / STEPS)
    base = statistics.median(seconds["torch.optim.AdamW, fused"])
    for name, rounds in seconds.items():
        middle = statistics.median(rounds)
        sys.stdout.write(f"{name:40} {middle * 1e3:7.1f} ms  {middle / base:5.2f}\n")


if __name__ == "__main__":
    main()
