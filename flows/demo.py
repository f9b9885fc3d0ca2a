"""`demo`: a stream of real handwritten digits, from an empty folder to a report, through the same flows as any stream.

Sixteen tasks arrive one after another. Beside them a separate network per task and one network that is fine-tuned through
all of them are trained on the same data with the same budget. Interrupted and started again, it continues where it was.
"""

import os
from pathlib import Path

from prefect import flow

from apd import summary
from apd.actors import cluster, companion
from apd.config import ConsolidationConfig, LearningConfig, NetworkConfig, StreamConfig
from apd.data import TaskFolder, digits_tasks, pack_arrays
from apd.errors import NotFound
from apd.report import text_table
from apd.store import Stream
from flows.evaluate import evaluate
from flows.names import run_name
from flows.report import report
from flows.run import run

CONFIG = StreamConfig(
    input_shape=(1, 8, 8),
    network=NetworkConfig("mlp", {"hidden": [512, 256]}),
    learning=LearningConfig(epochs=15, batch_size=32, capacity_per_task=0.02),
    consolidation=ConsolidationConfig(consolidate_every=5, clusters_per_round=2),
)


def demo(folder: Path) -> None:
    """Run or continue the demonstration in this folder and print its table."""
    stream = _open_or_create(folder / "stream")
    arrive(stream.url)
    content = summary.report(stream, stream.head())
    print(text_table(content))
    print(f"report: {folder / 'stream' / stream.report_key(content.version)}")


def _open_or_create(folder: Path) -> Stream:
    try:
        return Stream.open(str(folder))
    except NotFound:
        return Stream.create(str(folder), CONFIG)


@flow(name="demo", flow_run_name=run_name)
def arrive(stream: str) -> None:
    """Let the digits arrive one task after another; measure everything anew at the end.

    Args:
        stream: URL of a stream that `demo` created.
    """
    opened = Stream.open(stream)
    with cluster(stream), companion(stream) as compare:
        for task in digits_tasks():
            if not opened.inbox.knows(task.name):
                opened.inbox.submit(pack_arrays(task))
            run(stream)
            compare(task.name)
        evaluate(stream, again=True)
    report(stream)
