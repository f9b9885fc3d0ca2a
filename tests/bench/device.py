"""Training steps a second on every device and in every precision there is: `python -m tests.bench.device`.

The second task of a stream, under a budget, batch 100: the MLP of the demo on 8x8 digits, the paper's LeNet and a small
ResNet-18 on 3x32x32. One line per network and way; ways that this machine cannot go are named. Whole epochs are timed
but for the first, steps with the picking of their batch, without validation.
"""

import dataclasses
import statistics
import sys
import time
from collections.abc import Iterator

import torch

from apd.config import LearningConfig, NetworkConfig, StreamConfig
from apd.data import Split, TaskData
from apd.networks import Network, from_config
from apd.state import Arrival
from apd.training import Fit

BATCH, CLASSES, EPOCHS = 100, 5, 4
NETWORKS = {
    "MLP 256-256, 1x8x8": (NetworkConfig("mlp"), (1, 8, 8), 100),
    "LeNet, 3x32x32": (NetworkConfig("lenet"), (3, 32, 32), 10),
    "ResNet-18, width 16, 3x32x32": (NetworkConfig("resnet18", {"width": 16}), (3, 32, 32), 5),
}
"""What to train, the shape of its inputs, and steps per epoch on a CPU; a GPU takes two hundred times as many, so
that an epoch's recording of the step is a small part of it, as in a task that is worth a GPU."""

WAYS = {
    "CPU, one thread": ("cpu", {}),
    "CPU, one thread, bfloat16": ("cpu", {"precision": "bfloat16"}),
    "CUDA": ("cuda", {}),
    "CUDA, bfloat16": ("cuda", {"precision": "bfloat16"}),
    "CUDA, graphs": ("cuda", {"cuda_graphs": True}),
    "CUDA, graphs, bfloat16": ("cuda", {"cuda_graphs": True, "precision": "bfloat16"}),
}


def second_task(network: Network, config: LearningConfig, steps: int, device: str) -> Fit:
    """So many batches of noise, to train on top of a sigma."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (steps * BATCH, *network.input_shape), dtype=torch.uint8, generator=generator)
    split = Split(inputs, torch.arange(len(inputs)) % CLASSES)
    spec, initial = network.spec(CLASSES), network.initial(CLASSES, 0)
    masks = {name: torch.full(shape[:1], 0.9) for name, shape in spec.shared.items()}
    arrival = Arrival({name: initial[name] for name in spec.shared}, masks, 1)
    return Fit(network, "bench", CLASSES, TaskData(split, split, split), arrival, config, device=device)


def epochs(training: Fit) -> Iterator[float]:
    """Seconds of each epoch's steps."""
    while True:
        training._epoch += 1
        started = time.perf_counter()
        training._train_epoch()  # ends with numbers that Python reads, so the device has finished
        yield time.perf_counter() - started


def rate(network: Network, config: LearningConfig, steps: int, device: str) -> float:
    """Steps a second, median of the epochs after the first."""
    timed = epochs(second_task(network, config, steps, device))
    return steps / statistics.median([next(timed) for _ in range(EPOCHS)][1:])


def main() -> None:
    torch.set_num_threads(1)
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU that this torch can use"
    sys.stdout.write(f"torch {torch.__version__}, {name}\nsteps a second, batch {BATCH}\n")
    for title, (described, shape, steps) in NETWORKS.items():
        network = from_config(StreamConfig(input_shape=shape, network=described))
        for way, (device, settings) in WAYS.items():
            if device == "cuda" and not torch.cuda.is_available():
                sys.stdout.write(f"{title:30} {way:28} {'-':>9}\n")
                continue
            config = dataclasses.replace(LearningConfig(), **settings)
            found = rate(network, config, steps * (200 if device == "cuda" else 1), device)
            sys.stdout.write(f"{title:30} {way:28} {found:9.1f}\n")


if __name__ == "__main__":
    main()
