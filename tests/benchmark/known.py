"""Cells whose figures can be worked out by hand."""

from apd.benchmark import Cell, CellResult, Protocol, TaskResult, protocol_of

TINY = {"tasks": 2, "network": {"arguments": {"hidden": [16]}}, "learning": {"epochs": 1, "batch_size": 256}}
"""Settings of a benchmark that takes a moment."""


def tiny() -> Protocol:
    return protocol_of("digits", TINY)


def result(method: str, order: str, seed: int, columns: dict[str, list[float]], **changes) -> CellResult:
    """A cell from the columns of its accuracy matrix, in the order of arrival; every task took two seconds."""
    tasks = tuple(
        TaskResult(task, tuple(column), column[-1] - 0.1, 1.0 + place / 10, 2.0)
        for place, (task, column) in enumerate(columns.items())
    )
    values = {"joint": False, "byte_capacity": 1.5, "notes": ("a copy",), "made_with": {"torch": "2"}} | changes
    return CellResult(Cell(method, order, seed), tasks=tasks, **values)


def forgetful() -> list[CellResult]:
    """Three tasks in two orders from two seeds."""
    return [
        result("finetuning", "A", 0, {"a": [0.9, 0.7, 0.5], "b": [0.8, 0.6], "c": [0.7]}),
        result("finetuning", "B", 0, {"c": [0.9, 0.9, 0.9], "b": [0.8, 0.8], "a": [0.7]}),
        result("finetuning", "A", 1, {"a": [0.9, 0.9, 0.7], "b": [0.8, 0.8], "c": [0.9]}),
        result("finetuning", "B", 1, {"c": [0.9, 0.9, 0.9], "b": [0.8, 0.8], "a": [0.7]}),
    ]


def joint() -> list[CellResult]:
    """All at once, in one order from one seed."""
    tasks = {"a": [0.5], "b": [0.75], "c": [1.0]}
    made = result("mtl", "A", 0, tasks, joint=True)
    return [made]
