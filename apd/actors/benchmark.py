"""Cells of a benchmark as a kind of work."""

from collections.abc import Iterator
from pathlib import Path

from apd.actors.workers import Worker
from apd.benchmark import Cell, CellResult, Protocol, Step, load_tasks, run_cell
from apd.store.results import Results


class CellRunner(Worker):
    """Runs cells whose results go to its URL; no stream is involved."""

    def run(self, cell: Cell, protocol: Protocol, data: str | None) -> Iterator[Step]:
        """Run a cell from its beginning; yield every task that is learned. When that ends, the result is stored."""
        benchmark = load_tasks(protocol, cell.order, Path(data) if data else None)
        for event in run_cell(cell, protocol, benchmark, self.device):
            if isinstance(event, CellResult):
                Results(self.url).finish(cell.name, event.to_json())
            else:
                yield event
