"""What a benchmark is read from: a Markdown table of methods, and rows of everything measured."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from apd.benchmark.cell import CellResult
from apd.benchmark.protocol import Protocol
from apd.benchmark.summary import Figure, MethodSummary, summarise
from apd.config import to_json
from apd.report.formats import MISSING
from apd.store.formats import compact

COLUMNS = (
    "method",
    "accuracy %",
    "capacity, paper %",
    "capacity, bytes %",
    "BWT points",
    "forgetting points",
    "FWT points",
    "AOPD points",
    "MOPD points",
    "time s",
)

EXPLANATION = """\
Mean over orders, then mean ± standard deviation over seeds, which decide initial values and the order of samples, not
the splits. Accuracy: test accuracy over all tasks after the last one. Capacity: of the whole model after the last task;
paper: non-zeros, as the paper's authors count them, of APD with the last task's head alone and of the others with all
heads, over one network with all heads; bytes: what must be kept to predict every task and to learn the next one, over
one network, and without the tasks' data: apd2 measures their validation data at every consolidation, and trains on what
its first one's tasks had. BWT: accuracy after the last task less that when learned. Forgetting: from a task's best.
FWT: accuracy when learned less that of a separate network (stl) in the same order and seed, mean over all tasks but the
first. OPD: a task's largest less its smallest final accuracy over the orders; AOPD is its mean over tasks, MOPD its
largest. Every order begins from other initial values, so separate networks (stl) have an OPD too, by chance alone. ewc:
with the Fisher information of 200 training samples per task. Where consolidation.refit is true, apd2 sees the data of
its first consolidation's tasks again, twice: all together for refit_epochs (null: as many as for one task),
then each task as when it arrived; no other method does. Time: seconds of processor time on one thread (on a GPU, of
time) for one pass over the stream, a refit included."""


def markdown(protocol: Protocol, results: Sequence[CellResult], command: str) -> str:
    """The table, how to read it, with which settings it was made, and what must be known of the data.

    results: every method in the same orders and seeds. command: what makes it again.
    """
    lines = [f"# {protocol.benchmark}", "", *_table(summarise(results)), "", EXPLANATION, ""]
    lines += [f"- {name}: {value}" for name, value in _facts(protocol, results)]
    lines += [f"- data: {note}" for note in results[0].notes]
    return "\n".join([*lines, "", f"    {command}", ""])


def _table(summaries: Sequence[MethodSummary]) -> Iterator[str]:
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|:--|" + "--:|" * (len(COLUMNS) - 1)
    for summary in summaries:
        yield "| " + " | ".join(_cells(summary)) + " |"


def _cells(summary: MethodSummary) -> tuple[str, ...]:
    return (
        summary.method,
        figure(summary.accuracy, 100, 2),
        figure(summary.paper_capacity, 100, 1),
        figure(summary.byte_capacity, 100, 1),
        figure(summary.backward_transfer, 100, 2),
        figure(summary.forgetting, 100, 2),
        figure(summary.forward_transfer, 100, 2),
        figure(summary.average_disparity, 100, 2),
        figure(summary.maximum_disparity, 100, 2),
        figure(summary.seconds, 1, 0),
    )


def figure(value: Figure | None, scale: float, digits: int) -> str:
    """`61.80 ± 0.31`; without the deviation for one seed, a dash for what was not measured."""
    if value is None:
        return MISSING
    mean = f"{scale * value.mean + 0.0:.{digits}f}"
    mean = mean.lstrip("-") if not float(mean) else mean
    return mean if value.deviation is None else f"{mean} ± {scale * value.deviation:.{digits}f}"


def _facts(protocol: Protocol, results: Sequence[CellResult]) -> Iterator[tuple[str, str]]:
    tasks = results[0].tasks
    yield "tasks", str(len(tasks))
    yield "orders", " ".join(dict.fromkeys(result.cell.order for result in results))
    yield "seeds", " ".join(dict.fromkeys(str(result.cell.seed) for result in results))
    for name, value in to_json(protocol).items():
        if isinstance(value, Mapping):
            yield name, ", ".join(f"{key} {setting}" for key, setting in value.items())
        elif name not in ("benchmark", "tasks"):
            yield name, str(value)
    for name in dict.fromkeys(name for result in results for name in result.made_with):
        values = dict.fromkeys(result.made_with.get(name, "not recorded") for result in results)
        yield name, ", ".join(values)


def rows(protocol: Protocol, results: Sequence[CellResult]) -> list[Mapping[str, Any]]:
    """One row per cell and task: all that was measured, and the settings as JSON.

    `accuracies` are the task's column of the accuracy matrix, from its own arrival on.
    """
    settings = compact(to_json(protocol)).decode()
    recorded = sorted({name for result in results for name in result.made_with})
    return [
        {
            "benchmark": protocol.benchmark,
            "method": result.cell.method,
            "order": result.cell.order,
            "seed": result.cell.seed,
            "position": position,
            "task": task.task,
            "accuracies": list(task.accuracies),
            "validation_accuracy": task.validation_accuracy,
            "paper_capacity": task.paper_capacity,
            "byte_capacity": result.byte_capacity,
            "seconds": task.seconds,
            "settings": settings,
            **dict.fromkeys(recorded),
            **result.made_with,
        }
        for result in results
        for position, task in enumerate(result.tasks, 1)
    ]
