"""Streams whose tasks train in a fraction of a second, and networks whose steps can be made slow."""

import tempfile
import time
from pathlib import Path

from torch import Tensor, nn

from apd.actors import Trainer
from apd.config import LearningConfig, NetworkConfig, ResourceConfig, StreamConfig
from apd.data import validate_task
from apd.data.tasks import NamedTask
from apd.store import Candidate, Stream, Version
from apd.team import Team
from tests.toys import SIZE, data

EPOCHS = 6
BATCHES = 3
NETWORK = NetworkConfig("mlp", {"hidden": [16]})


class Slow(nn.Sequential):
    """A small network that sleeps in every training step, as one that is computed elsewhere would keep us waiting."""

    def __init__(self, classes: int, seconds: float) -> None:
        super().__init__(nn.Linear(SIZE, 16), nn.ReLU(), nn.Linear(16, classes))
        self.seconds = seconds

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            time.sleep(self.seconds)
        logits: Tensor = super().forward(inputs)
        return logits


def slow(input_shape: tuple[int, ...], classes: int, seconds: float) -> nn.Module:
    """For `slow_network`."""
    return Slow(classes, seconds)


def slow_network(seconds: float) -> NetworkConfig:
    """Every training step takes so long; other slow networks of any speed give the same bits."""
    return NetworkConfig(f"{__name__}:slow", {"seconds": seconds})


class Held(Slow):
    """Stops in the training step after so many, in every process, and waits there while a folder exists.

    Until three minutes after its start at most: a test that has failed must end.
    """

    def __init__(self, classes: int, folder: str, steps: int) -> None:
        super().__init__(classes, 0.0)
        self.folder, self.left, self.end = Path(folder), steps, time.monotonic() + 180

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.left -= 1
            while self.left < 0 and self.folder.exists() and time.monotonic() < self.end:
                time.sleep(0.02)
        return super().forward(inputs)


def held(input_shape: tuple[int, ...], classes: int, folder: str, steps: int) -> nn.Module:
    """For `held_network`."""
    return Held(classes, folder, steps)


def held_network(folder: Path, epochs: int) -> NetworkConfig:
    """What trains it stops after so many epochs, until the folder is removed; the bits are those of slow networks."""
    return NetworkConfig(f"{__name__}:held", {"folder": str(folder), "steps": epochs * BATCHES})


def config(network: NetworkConfig = NETWORK, **resources: object) -> StreamConfig:
    """Attempts are saved after every epoch unless the resources say otherwise."""
    learning = LearningConfig(epochs=EPOCHS, batch_size=20, capacity_per_task=0.1, learning_rate=0.01)
    settings = ResourceConfig(**({"save_every": 0.0} | resources))
    return StreamConfig((SIZE,), "float32", network, learning, resources=settings)


def task(number: int) -> NamedTask:
    """Three clouds of points, elsewhere for every number."""
    return NamedTask(f"task-{number}", ("a", "b", "c"), data(number, samples=20 * BATCHES))


def submit(stream: Stream, number: int) -> str:
    """Put the task into the inbox; returns its name."""
    named = task(number)
    with tempfile.TemporaryDirectory() as scratch:
        named.write(Path(scratch) / named.name)
        stream.inbox.submit(Path(scratch) / named.name)
    return named.name


def accept(stream: Stream, number: int) -> str:
    """Let the task arrive; returns its name."""
    name = submit(stream, number)
    accept_all(stream)
    return name


def accept_all(stream: Stream) -> None:
    """Let everything in the inbox arrive."""
    for folder in stream.inbox.complete():
        stream.inbox.accept(folder, validate_task(stream.inbox.folder(folder), stream.config))


def learn_here(stream: Stream, name: str, base: int | None = None) -> Version:
    """Train and commit in this process; `base` None: on the head."""
    number = stream.head().number if base is None else base
    *_, candidate = Trainer(stream.url).learn(name, number)
    assert isinstance(candidate, Candidate)
    return stream.commit_candidate(candidate)


def learn_unheld(stream: Stream, name: str, folder: Path) -> None:
    """As `learn_here`, and as flows leave a task behind; what is trained later is held by the folder again."""
    folder.rmdir()
    learn_here(stream, name)
    stream.clear_attempt(name)
    folder.mkdir()


def epochs_saved(stream: Stream, name: str) -> int:
    """After how many epochs the last attempt at the task was saved; 0 without one."""
    attempt = stream.load_attempt(name)
    return 0 if attempt is None else int(attempt.values["epoch"])


def learn_in_team(team: Team, url: str, name: str) -> dict[str, Tensor]:
    """One worker's part of training the task on version 0; the leader commits it. For `teammates.together`."""
    trainer = Trainer(url)
    trainer.team = team
    for event in trainer.learn(name, 0):
        if isinstance(event, Candidate):
            trainer.stream.commit_candidate(event)
    return {}


def undisturbed_bits(stream: Stream) -> dict[str, str]:
    """What the tasks would compute had each been trained without a break on the version that the manifest names.

    They are trained here, one after another, and quickly.
    """
    with tempfile.TemporaryDirectory() as place:
        here = Stream.create(place, config(slow_network(0.0)))
        for entry in stream.head().entries:
            name = accept(here, int(entry.name.removeprefix("task-")))
            learn_here(here, name, entry.based_on)
        return bits(here)


def bits(stream: Stream) -> dict[str, str]:
    """What every task of the head computes, as digests of its parameters."""
    return {entry.name: entry.theta_key for entry in stream.head().entries}
