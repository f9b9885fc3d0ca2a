"""A stream that looks like a real one, of any length, from one seed: what every report test draws."""

import dataclasses

import numpy as np

from apd.report.content import (
    AccuracyRow,
    CapacityPoint,
    ClusterRow,
    ConsolidationRow,
    LayerRow,
    OrderRow,
    Report,
    TaskRow,
)

LAYERS = (
    ("conv1.weight", (20, 1, 5, 5)),
    ("conv2.weight", (50, 20, 5, 5)),
    ("fc1.weight", (800, 2450)),
    ("fc2.weight", (500, 800)),
)
EVERY = 5

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "a & b | c `d` _e_ *f* [g](h) $\\frac{1}{",
    "[red]rich[/red]",
    "数字 🙂",
    "z" * 80,
)
"""Names that would be markup in HTML, Markdown, rich or mathematics, or that fonts may lack."""


def report(tasks: int, names: tuple[str, ...] | None = None, orders: int = 0) -> Report:
    """`tasks` tasks, consolidated every five; fine-tuning fades, APD loses a little in consolidations only."""
    random = np.random.default_rng(7)
    labels = names or tuple(f"digits-{'low' if t % 2 else 'high'}-rot{90 * (t // 2 % 4)}-{t:02d}" for t in range(tasks))
    learned = random.uniform(0.86, 0.99, tasks)
    matrix = _accuracy(learned, random)
    faded = _fine_tuning(learned, random)
    last = matrix[-1].accuracies if matrix else ()
    rows = tuple(
        TaskRow(
            name=label,
            classes=tuple(map(str, range(5))),
            accuracy_when_learned=float(learned[t]),
            accuracy_now=last[t],
            separate=float(np.clip(learned[t] + random.normal(0, 0.01), 0, 1)),
            fine_tuning=faded[-1].accuracies[t],
            tau_density=float(random.uniform(0.006, 0.012)) if t else 0.0,
            bytes=int(random.uniform(70e3, 130e3)),
            seconds=float(random.uniform(4, 6)),
        )
        for t, label in enumerate(labels)
    )
    return Report(
        stream="digits",
        version=len(matrix),
        created="2026-11-21T07:24:00Z",
        network="lenet",
        parameters=2_986_500,
        network_bytes=12_000_000,
        tasks=rows,
        accuracy=matrix,
        capacity=_capacity(matrix),
        layers=tuple(_layer(name, shape, labels, random) for name, shape in LAYERS),
        consolidations=_consolidations(matrix),
        fine_tuning=faded,
        similarity=_similarity(tasks, random),
        orders=tuple(
            OrderRow(f"order {chr(66 + i)}", tuple(np.clip(learned - random.exponential(0.01, tasks), 0, 1)))
            for i in range(orders)
        ),
        settings=(("variant", "apd2"), ("capacity_per_task", "0.01"), ("epochs", "20"), ("tolerance", "0.01")),
    )


def forgotten(before: Report) -> Report:
    """The same stream after every task was forgotten: what versions before came to is still known."""
    gone = dict.fromkeys(("tasks", "accuracy", "layers", "fine_tuning", "similarity", "orders"), ())
    return dataclasses.replace(before, version=before.version + len(before.tasks), **gone)


def _accuracy(learned: np.ndarray, random: np.random.Generator) -> tuple[AccuracyRow, ...]:
    now: list[float | None] = [None] * len(learned)
    rows = []
    for task, accuracy in enumerate(learned):
        now[task] = float(accuracy)
        rows.append(AccuracyRow(len(rows) + 1, "learn", tuple(now)))
        if (task + 1) % EVERY == 0:
            now = [value if value is None else float(value - random.exponential(0.002)) for value in now]
            rows.append(AccuracyRow(len(rows) + 1, "consolidate", tuple(now)))
    return tuple(rows)


def _fine_tuning(learned: np.ndarray, random: np.random.Generator) -> tuple[AccuracyRow, ...]:
    rows = []
    for task in range(len(learned)):
        faded = [
            float(0.2 + (learned[old] - 0.2) * np.exp(-(task - old) / 4) * random.uniform(0.8, 1))
            for old in range(task)
        ]
        unknown: list[float | None] = [None] * (len(learned) - task - 1)
        rows.append(AccuracyRow(task + 1, "learn", (*faded, float(learned[task]), *unknown)))
    return tuple(rows)


def _capacity(matrix: tuple[AccuracyRow, ...]) -> tuple[CapacityPoint, ...]:
    points, paper, stored = [], 1.0, 12_500_000.0
    for row in matrix:
        if row.kind == "consolidate":
            paper, stored = 1 + (paper - 1) * 0.8, 12_500_000 + (stored - 12_500_000) * 0.85
        else:
            paper, stored = paper + 0.01, stored + 100_000
        learned = sum(value is not None for value in row.accuracies)
        points.append(CapacityPoint(row.version, row.kind, learned, paper, int(stored)))
    return tuple(points)


def _layer(name: str, shape: tuple[int, ...], labels: tuple[str, ...], random: np.random.Generator) -> LayerRow:
    scale = 3 / np.sqrt(np.prod(shape))
    densities = tuple(float(value) for value in random.uniform(0.5, 1.5, len(labels)) * scale)
    settled = labels[: len(labels) // EVERY * EVERY]
    groups = random.integers(0, max(1, 2 * len(settled) // EVERY), len(settled))
    clusters = []
    for group in sorted(set(groups.tolist())):
        members = tuple(label for label, own in zip(settled, groups, strict=True) if own == group)
        shared = int(random.integers(100, 20_000)) if len(members) > 1 else 0
        clusters.append(ClusterRow(group, members, shared, float(random.uniform(0, 0.01)) if shared else 0.0))
    return LayerRow(name, shape, (0.0, *densities[1:])[: len(labels)], tuple(clusters))


def _consolidations(matrix: tuple[AccuracyRow, ...]) -> tuple[ConsolidationRow, ...]:
    rows = []
    for row in matrix:
        if row.kind == "consolidate":
            tasks = sum(value is not None for value in row.accuracies)
            taus = 29_000 * tasks
            rows.append(
                ConsolidationRow(
                    row.version, True, tasks, 0.01, tasks // 2, 900 * tasks, taus, int(taus * 0.8), 0.0093, 0.004, 1.2
                )
            )
    return tuple(rows)


def _similarity(tasks: int, random: np.random.Generator) -> tuple[tuple[float, ...], ...]:
    directions = random.normal(size=(tasks, 40)) + 0.5 * random.normal(size=(3, 40))[np.arange(tasks) % 3]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return tuple(tuple(float(np.clip(value, -1, 1)) for value in row) for row in directions @ directions.T)
