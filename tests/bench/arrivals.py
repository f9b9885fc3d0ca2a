"""What tasks that arrive together cost beside a strict sequence: `python -m tests.bench.arrivals [WIDTH ...]`.

The 16 digits tasks of `apd benchmark digits` in its five orders, each order learned with WIDTH tasks at a time (1 and 4
unless said otherwise), as `apd run --max-parallel WIDTH` would: on the versions, with the consolidations and to the
bits of that flow, but in this process, where no Ray has to start. A consolidation at the end makes the counts
comparable.
"""

import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from apd import metrics
from apd.actors import Trainer
from apd.benchmark import Cell, load_tasks, protocol_of
from apd.config import StreamConfig
from apd.consolidation import consolidate
from apd.data import NamedTask, validate_task
from apd.data.official import ORDERS
from apd.overview import is_due
from apd.store import Candidate, Stream
from apd.store.footprint import footprint


@dataclass(frozen=True, slots=True)
class Outcome:
    """A stream that has learned all tasks of one order."""

    accuracies: dict[str, float]
    """Test accuracy of every task in the end, in [0, 1]."""
    before: int
    """Non-zeros of all taus as stored, each on its own sigma, before the last consolidation."""
    tau: int
    """Non-zeros of all taus after it, on one sigma."""
    shared: int
    """Non-zeros of sigma_g's."""
    paper: float
    """Capacity as the paper counts, 1.0 being one network."""
    bytes: int


def main(widths: Sequence[int]) -> None:
    """One line per order and width, then one per width with the order robustness."""
    torch.set_num_threads(1)
    found: dict[int, list[Outcome]] = {width: [] for width in widths}
    for order in ORDERS:
        for width in widths:
            with tempfile.TemporaryDirectory() as folder:
                found[width].append(learned(Path(folder), order, width))
            print(f"order {order}, {width} at a time: {_line(found[width][-1:])}", flush=True)
    for width, outcomes in found.items():
        rows = [[one.accuracies[task] for task in sorted(one.accuracies)] for one in outcomes]
        aopd = 100 * metrics.average_order_disparity(np.array(rows))
        mopd = 100 * metrics.maximum_order_disparity(np.array(rows))
        print(f"all orders, {width} at a time: {_line(outcomes)}, AOPD {aopd:.2f}, MOPD {mopd:.2f}")


def _line(outcomes: Sequence[Outcome]) -> str:
    def mean(field: str) -> float:
        return float(np.mean([getattr(one, field) for one in outcomes]))

    accuracy = float(np.mean([list(one.accuracies.values()) for one in outcomes]))
    counts = f"tau {mean('before'):,.0f} -> {mean('tau'):,.0f}, sigma_g {mean('shared'):,.0f}"
    return (
        f"accuracy {100 * accuracy:.2f} %, {counts}, paper {100 * mean('paper'):.1f} %, {mean('bytes') / 1e3:,.0f} kB"
    )


def learned(folder: Path, order: str, width: int) -> Outcome:
    """Let the tasks arrive in this order, so many at a time."""
    protocol = protocol_of("digits", {})
    benchmark = load_tasks(protocol, order, None)
    learning = replace(Cell("apd2", order, 0).learning(protocol), variant="apd2")
    config = StreamConfig(benchmark.input_shape, network=protocol.network, learning=learning)
    stream = Stream.create(str(folder / "stream"), replace(config, consolidation=protocol.consolidation))
    names = [accept(stream, task, folder) for task in benchmark]
    for name, base in on_bases(stream, names, width):
        *_, candidate = Trainer(stream.url).learn(name, base)
        assert isinstance(candidate, Candidate)
        stream.commit_candidate(candidate)
        if is_due(stream):
            consolidated(stream)
    before = sum(entry.tau_nnz for entry in stream.head().entries)
    consolidated(stream)
    return outcome(stream, before)


def accept(stream: Stream, task: NamedTask, folder: Path) -> str:
    """Let the task arrive; returns its name."""
    task.write(folder / task.name)
    stream.inbox.submit(folder / task.name)
    stream.inbox.accept(task.name, validate_task(stream.inbox.folder(task.name), stream.config))
    return task.name


def on_bases(stream: Stream, names: Sequence[str], width: int) -> Iterator[tuple[str, int]]:
    """Every task with the version it is trained on, as `flows.run` decides it."""
    queue, running = deque(names), deque[tuple[str, int]]()
    while queue or running:
        places = 1 if stream.head().sigma is None else width
        while queue and len(running) < places:
            running.append((queue.popleft(), stream.head().number))
        yield running.popleft()


def consolidated(stream: Stream) -> None:
    """Consolidate the head, whatever it costs a task."""
    head = stream.head()
    assert head.sigma is not None
    tasks, config = [stream.load_entry(entry) for entry in head.entries], stream.config
    sigma, before = stream.load_sigma(head.sigma), stream.clustering(head)
    outcome = consolidate(tasks, sigma, before, config.consolidation, config.learning.seed)
    stream.commit_consolidation(stream.write_consolidation(outcome, base=head))


def outcome(stream: Stream, before: int) -> Outcome:
    """What the stream has come to."""
    head, worker = stream.head(), Trainer(stream.url)
    tasks = [stream.load_entry(entry) for entry in head.entries]
    shared = {id(part): part.nnz for task in tasks for part in task.local_shared.values()}
    first = stream.load_task(stream.version(1), head.entries[0].name)
    accuracies = {
        entry.name: worker.measure(entry, stream.load_data(entry.name)).test_accuracy for entry in head.entries
    }
    paper = metrics.paper_capacity(tasks, tasks[0].sigma, list(worker.network.spec(2).head))
    size = footprint(tasks, tasks[0].sigma, first.sigma)
    return Outcome(accuracies, before, sum(entry.tau_nnz for entry in head.entries), sum(shared.values()), paper, size)


if __name__ == "__main__":
    main([int(width) for width in sys.argv[1:]] or [1, 4])
