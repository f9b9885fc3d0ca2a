"""How much faster several actors learn eight waiting tasks: `python -m tests.bench.waiting [real] [ACTORS ...]`.

Through `apd run`'s own flow on a Ray and a Prefect server that are started here; 1, 2 and 4 actors unless said
otherwise. A step sleeps, as one that a GPU computes would keep its process waiting, so that four actors fit on two
cores; with `real` the steps are computed, and there is no use in more actors than cores. The first task of a stream,
which trains alone, is learned before; nothing is consolidated. Two rounds, in each of which every number of actors
takes its turn. Efficiency: tasks a second and actor, over those of the first row, from the medians.
"""

import dataclasses
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from apd.actors import cluster
from apd.config import ConsolidationConfig, LearningConfig, NetworkConfig, ResourceConfig, StreamConfig
from apd.store import Stream
from flows import console
from tests.actors import small
from tests.bench.arrivals import accept
from tests.flows.small_tasks import digits

TASKS = 8
STEP = 1.0
"""Seconds that a simulated step takes; a task has 18."""
ROUNDS = 2
NEVER = ConsolidationConfig(consolidate_every=100)


def simulated(folder: Path, actors: int) -> Stream:
    """Tasks whose steps sleep, for actors that take an eighth of a core."""
    config = small.config(small.slow_network(STEP), num_cpus=0.125, max_parallel=actors, save_every=60.0)
    stream = Stream.create(str(folder / "stream"), dataclasses.replace(config, consolidation=NEVER))
    for number in range(TASKS + 1):
        small.accept(stream, number)
    return stream


def computed(folder: Path, actors: int) -> Stream:
    """Digits, for as many epochs as make a task last some seconds."""
    config = StreamConfig(
        input_shape=(1, 8, 8),
        network=NetworkConfig("mlp", {"hidden": [512, 256]}),
        learning=LearningConfig(epochs=300, batch_size=32),
        consolidation=NEVER,
        resources=ResourceConfig(max_parallel=actors),
    )
    stream = Stream.create(str(folder / "stream"), config)
    for number, task in enumerate([*digits(), *digits(), digits()[0]]):
        accept(stream, dataclasses.replace(task, name=f"{task.name}-{number}"), folder)
    return stream


def seconds(folder: Path, actors: int, real: bool) -> float:
    """How long eight waiting tasks take."""
    from flows.run import run  # imports Prefect, which `console.prepare` has to precede

    stream = (computed if real else simulated)(folder, actors)
    small.learn_here(stream, stream.inbox.waiting()[0].task)
    started = time.monotonic()
    learned = run(stream.url, publish=False)
    assert len(learned) == TASKS
    return time.monotonic() - started


def main(real: bool, actors: Sequence[int]) -> None:
    """One row per number of actors in every round, then the medians."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; steps are {'computed' if real else 'simulated'}")
    console.prepare()
    took = {count: list[float]() for count in actors}
    with tempfile.TemporaryDirectory() as folder, cluster(folder):
        for number, count in itertools.product(range(ROUNDS), actors):
            place = Path(folder) / f"{number}-{count}"
            place.mkdir()
            took[count].append(seconds(place, count, real))
            print(f"{count} actors: {took[count][-1]:.1f} s", flush=True)
    median = {count: statistics.median(found) for count, found in took.items()}
    for count, found in median.items():
        efficiency = median[actors[0]] * actors[0] / (found * count)
        print(f"{count} actors: median {found:.1f} s, {60 * TASKS / found:.1f} tasks a minute, {efficiency:.0%}")


if __name__ == "__main__":
    words = sys.argv[1:]
    main("real" in words, [int(word) for word in words if word != "real"] or [1, 2, 4])
