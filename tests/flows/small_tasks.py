"""Streams of 8x8 digits whose tasks train in a fraction of a second."""

import dataclasses
import shutil
import tempfile
from functools import cache
from pathlib import Path

from apd.config import (
    AcceptanceConfig,
    ConsolidationConfig,
    LearningConfig,
    NetworkConfig,
    ResourceConfig,
    StreamConfig,
    to_json,
)
from apd.data import NamedTask
from apd.data.digits import digits_tasks
from apd.store import Stream
from apd.store.formats import decode_document, encode_document
from apd.store.stream import CONFIG as CONFIG_KEY

CONFIG = StreamConfig(
    input_shape=(1, 8, 8),
    network=NetworkConfig("mlp", {"hidden": [24, 16]}),
    learning=LearningConfig(epochs=2, batch_size=20, learning_rate=0.01, capacity_per_task=0.2),
    consolidation=ConsolidationConfig(
        consolidate_every=3, clusters_per_round=1, tolerance=0.3, least_saving=1, max_accuracy_drop=1.0
    ),
    resources=ResourceConfig(num_cpus=0.5),
)


@cache
def digits() -> tuple[NamedTask, ...]:
    return tuple(digits_tasks(4))


def names(count: int) -> list[str]:
    return [task.name for task in digits()[:count]]


def create(folder: Path, **changes: object) -> Stream:
    return Stream.create(str(folder), dataclasses.replace(CONFIG, **changes))


def demanding(stream: Stream, **demands: float) -> Stream:
    """The same stream, opened again, as if it had been created with these demands on new tasks."""
    config = dataclasses.replace(stream.config, acceptance=AcceptanceConfig(**demands))
    body = decode_document("stream", stream.objects.read(CONFIG_KEY), CONFIG_KEY) | {"config": to_json(config)}
    stream.objects.put(CONFIG_KEY, encode_document("stream", body))
    return Stream.open(stream.url)


def submit(stream: Stream, number: int, name: str | None = None) -> str:
    """Put the number-th task of digits into the inbox, as a folder of its own or another name."""
    task = digits()[number]
    with tempfile.TemporaryDirectory() as scratch:
        task.write(Path(scratch) / (name or task.name))
        return stream.inbox.submit(Path(scratch) / (name or task.name))


def copy(stream: Stream, folder: Path) -> Stream:
    """The same stream elsewhere, to be changed there."""
    shutil.copytree(stream.url, folder)
    return Stream.open(str(folder))


def rewound(stream: Stream, versions: int = 1) -> Stream:
    """The stream as if its process had died just before the newest versions were committed."""
    newest = stream.head().number
    for number in range(newest - versions + 1, newest + 1):
        stream.objects.delete(f"versions/{number:08d}.json")
    stream.objects.delete("head.json")
    return Stream.open(stream.url)


def bits(stream: Stream) -> dict[str, str]:
    """What every task of the head computes, as digests of its parameters."""
    return {entry.name: entry.theta_key for entry in stream.head().entries}
