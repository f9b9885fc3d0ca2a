"""The steps of a benchmark. A finished cell is never run again: its result is in the place of the results."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.futures import PrefectFuture

from apd import benchmark
from apd.actors import events
from apd.actors.benchmark import CellRunner
from apd.actors.resources import room
from apd.benchmark import Cell, CellResult, Protocol
from apd.config import ResourceConfig, to_json
from apd.store.results import Results
from flows.names import artifact_key
from flows.steps import first_done, step


@step("prepare benchmark", timeout=None)
def prepare(out: str, protocol: Protocol, data: str | None) -> None:
    """See that data and network are there, and that the results go where there are none of other settings or data."""
    found = benchmark.load_tasks(protocol, "A", Path(data) if data else None)
    network = benchmark.network_for(protocol, found)
    network.check()
    defaults = to_json(Protocol(protocol.benchmark))
    Results(out).claim(to_json(protocol), benchmark.data_of(found), defaults)
    log = get_run_logger()
    log.info("%s: %d tasks, %d shared parameters", found.name, len(found), network.spec(2).size)
    for note in found.notes:
        log.warning("data: %s", note)


@step("run cell", retries=4, delay=5, timeout=None)
def run_cell(out: str, cell: Cell, protocol: Protocol, data: str | None, resources: ResourceConfig) -> None:
    """Run a cell on a Ray actor of its own, unless its result is there."""
    log = get_run_logger()
    if Results(out).cell(cell.name) is not None:
        log.info("%s: finished before", cell.name)
        return
    for learned in events(CellRunner, "run", out, cell, protocol, data, resources=resources):
        progress = (cell.name, learned.number, learned.tasks, learned.task, 100 * learned.accuracy)
        log.info("%s: task %d/%d  %s  test accuracy %.1f %%", *progress)


def run_cells(
    out: str, plan: Sequence[Cell], protocol: Protocol, data: str | None, wanted: ResourceConfig, parallel: int | None
) -> dict[Cell, Exception]:
    """Run the cells in their order, side by side as far as there is room; returns why some failed."""
    width = parallel or room(wanted, grown=True)
    running, started = list[PrefectFuture[None]](), dict[Cell, PrefectFuture[None]]()
    for cell in plan:
        if len(running) >= width:
            running.remove(first_done(running))
        started[cell] = run_cell.submit(out, cell, protocol, data, wanted)
        running.append(started[cell])
    ends: dict[Cell, object] = {
        cell: first_done([future]).result(raise_on_failure=False) for cell, future in started.items()
    }
    return {cell: end for cell, end in ends.items() if isinstance(end, Exception)}


@step("publish benchmark")
def publish(out: str, protocol: Protocol, plan: list[Cell], command: str) -> list[str]:
    """Write table, rows and figures from the finished cells, the table as a Prefect artifact too; returns the URLs."""
    place = Results(out)
    files = benchmark.publish(place, protocol, finished(place, plan), command)
    table = place.read("table.md").decode()
    create_markdown_artifact(table, key=artifact_key("benchmark", protocol.benchmark), description=files[0])
    get_run_logger().info("table: %s", files[0])
    return files


def finished(place: Results, plan: Sequence[Cell]) -> list[CellResult]:
    """The results of these cells, without those that are not finished."""
    found = map(place.cell, (cell.name for cell in plan))
    return [CellResult.from_json(values) for values in found if values is not None]


def command_for(name: str, plan: Sequence[Cell], settings: Mapping[str, Any], data: str | None) -> str:
    """The command line that makes the same table; the data folder is DATA."""
    words = ["apd", "benchmark", name] + (["--data", "DATA"] if data else [])
    for option, values in (
        ("--methods", [cell.method for cell in plan]),
        ("--orders", [cell.order for cell in plan]),
        ("--seeds", [str(cell.seed) for cell in plan]),
    ):
        words += [option, ",".join(dict.fromkeys(values))]
    return shlex.join(words + [word for pair in _pairs(settings) for word in ("--set", pair)])


def _pairs(settings: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """{"learning": {"epochs": 5}} -> learning.epochs=5."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _pairs(value, f"{place}{name}.")
        else:
            yield f"{place}{name}={value if isinstance(value, str) else json.dumps(value)}"
