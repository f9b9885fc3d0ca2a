"""All that the report of a version shows, gathered from the store."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from apd.config import to_json
from apd.consolidation.arrays import add
from apd.consolidation.embedding import gram
from apd.errors import NotFound
from apd.networks import Network, from_config
from apd.overview.capacity import Size, size
from apd.overview.facts import accuracy_of
from apd.report.content import AccuracyRow, CapacityPoint, ClusterRow, ConsolidationRow, LayerRow, Report, TaskRow
from apd.state import Sparse, Spec, TaskState
from apd.store import Stream, TaskEntry, Version


@dataclass(frozen=True, slots=True)
class Growth:
    """What a stream has come to, version by version."""

    capacity: tuple[CapacityPoint, ...]
    consolidations: tuple[ConsolidationRow, ...]
    """Refused ones too."""


GROWING = ("learn", "consolidate", "prune", "forget", "rollback")
"""Kinds of versions that change what a task is or which tasks there are."""


def build_report(stream: Stream, version: Version) -> Report:
    """Everything about a version: accuracies from what was measured, sizes from what is stored. Empty without tasks.

    Of tasks that were forgotten since nothing can be told.
    """
    network, gone = from_config(stream.config), stream.forgotten_since(version)
    history = _history(stream, version)
    entries = [entry for entry in version.entries if entry.name not in gone]
    states = [stream.load_task(version, entry.name) for entry in entries]
    return Report(
        stream=stream.name,
        version=version.number,
        created=version.created,
        network=stream.config.network.name,
        parameters=network.spec(2).size,
        network_bytes=_network_bytes(network, entries),
        tasks=_task_rows(stream, entries, network.spec(2).size),
        accuracy=_accuracy_rows(stream, entries, history),
        capacity=_capacity(stream, history, network),
        layers=_layers(stream, list(network.spec(2).shared), states, history),
        consolidations=_consolidations(stream, history),
        fine_tuning=_fine_tuning(stream, entries),
        similarity=_similarity(states),
        settings=_settings(stream),
    )


def growth(stream: Stream, version: Version) -> Growth:
    """How large the stream was at every version up to this one, and what consolidations did to it."""
    history = _history(stream, version)
    return Growth(_capacity(stream, history, from_config(stream.config)), _consolidations(stream, history))


def _history(stream: Stream, version: Version) -> list[Version]:
    """The versions that this one grew from and that changed what the tasks are, the oldest first, it included.

    What a rollback went back from is no part of it.
    """
    numbered, path = {past.number: past for past in stream.log()}, list[Version]()
    number: int | None = version.number
    while number is not None:
        path.append(numbered[number])
        number = path[-1].grew_from
    return [past for past in reversed(path) if past.entries and past.kind in GROWING]


def _network_bytes(network: Network, entries: Sequence[TaskEntry]) -> int:
    """Of one dense network with the head of the task that has most classes."""
    classes = max((len(entry.classes) for entry in entries), default=2)
    return sum(tensor.nbytes for tensor in network.initial(classes, 0).values())


def _task_rows(stream: Stream, entries: Sequence[TaskEntry], parameters: int) -> tuple[TaskRow, ...]:
    tuned = _tuned_after_last(stream, entries)
    return tuple(
        TaskRow(
            name=entry.name,
            classes=entry.classes,
            accuracy_when_learned=entry.test_accuracy,
            accuracy_now=accuracy_of(stream, entry),
            separate=(stream.comparisons.get(entry.name) or {}).get("separate"),
            fine_tuning=tuned.get(entry.name),
            tau_density=entry.tau_nnz / parameters,
            bytes=entry.bytes,
            seconds=entry.seconds,
        )
        for entry in entries
    )


def _tuned_after_last(stream: Stream, entries: Sequence[TaskEntry]) -> Mapping[str, float]:
    """Accuracies of the fine-tuned network after the last task that it was tuned on."""
    found = [stream.comparisons.get(entry.name) for entry in reversed(entries)]
    return next((record["fine_tuning"] for record in found if record), {})


def _accuracy_rows(stream: Stream, entries: Sequence[TaskEntry], history: Sequence[Version]) -> tuple[AccuracyRow, ...]:
    measured: dict[str, float | None] = {}
    rows = []
    for past in history:
        there = {entry.name: entry for entry in past.entries}
        for entry in past.entries:
            if entry.theta_key not in measured:
                measured[entry.theta_key] = accuracy_of(stream, entry)
        row = (measured[there[entry.name].theta_key] if entry.name in there else None for entry in entries)
        rows.append(AccuracyRow(past.number, past.kind, tuple(row)))
    return tuple(rows)


def _fine_tuning(stream: Stream, entries: Sequence[TaskEntry]) -> tuple[AccuracyRow, ...]:
    rows = []
    for entry in entries:
        record = stream.comparisons.get(entry.name)
        if record:
            accuracies = tuple(record["fine_tuning"].get(other.name) for other in entries)
            rows.append(AccuracyRow(entry.learned_in, "learn", accuracies))
    return tuple(rows)


def _capacity(stream: Stream, history: Sequence[Version], network: Network) -> tuple[CapacityPoint, ...]:
    """Of every version whose size is known."""
    points = []
    specs = {count: network.spec(count) for count in {len(entry.classes) for past in history for entry in past.entries}}
    for past in history:
        found = _size(stream, past, specs)
        if found is not None:
            points.append(CapacityPoint(past.number, past.kind, len(past.entries), found.paper_capacity, found.bytes))
    return tuple(points)


def _size(stream: Stream, version: Version, specs: Mapping[int, Spec]) -> Size | None:
    """None when it was not measured before parts of the version were removed on purpose."""
    try:
        return size(stream, version, specs)
    except NotFound:
        collected = stream.marks.is_collected(version.number)
        if collected or any(stream.marks.is_buried(entry.record) for entry in version.entries):
            return None
        raise


def _layers(
    stream: Stream, names: Sequence[str], states: Sequence[TaskState], history: Sequence[Version]
) -> tuple[LayerRow, ...]:
    """In the order of the network."""
    if not states:
        return ()
    last = next((past for past in reversed(history) if past.kind == "consolidate"), None)
    moves = stream.consolidation_report(last) if last else {}
    rows = []
    for name in names:
        sigma = states[0].sigma[name]
        densities = tuple(state.tau[name].nnz / sigma.numel() for state in states)
        moved = moves.get(name, {}).get("moves", {})
        rows.append(LayerRow(name, tuple(sigma.shape), densities, _clusters(states, name, moved)))
    return tuple(rows)


def _clusters(states: Sequence[TaskState], name: str, moved: Mapping[str, float]) -> tuple[ClusterRow, ...]:
    groups: dict[int, list[TaskState]] = {}
    for state in states:
        if name in state.clusters:
            groups.setdefault(state.clusters[name], []).append(state)
    return tuple(
        ClusterRow(
            index=index,
            members=tuple(state.name for state in members),
            shared_elements=members[0].local_shared[name].nnz,
            largest_move=max((moved.get(state.name, 0.0) for state in members), default=None),
        )
        for index, members in sorted(groups.items())
    )


def _consolidations(stream: Stream, history: Sequence[Version]) -> tuple[ConsolidationRow, ...]:
    """Those that were committed and those that were refused, by version; a refused one is before what came after it."""
    made, bases = [past for past in history if past.kind == "consolidate"], {past.number for past in history}
    rows = [_consolidation(past.number, len(past.entries), past.details, _largest_drop(stream, past)) for past in made]
    for one in stream.refusals.consolidations():
        if one.base in bases:
            drop = max(before - after for before, after in one.accuracies.values())
            rows.append(_consolidation(one.base, len(one.accuracies), one.details, drop, accepted=False))
    return tuple(sorted(rows, key=lambda row: (row.version, row.accepted, not row.refit, -row.tolerance)))


def _consolidation(
    version: int, tasks: int, details: Mapping[str, Any], drop: float | None, *, accepted: bool = True
) -> ConsolidationRow:
    facts = {item.name: details[item.name] for item in fields(ConsolidationRow) if item.name in details}
    return ConsolidationRow(version=version, tasks=tasks, accepted=accepted, largest_drop=drop, **facts)


def _largest_drop(stream: Stream, version: Version) -> float | None:
    """Validation accuracy lost by the task that lost most."""
    assert version.parent is not None
    before = {entry.name: entry for entry in stream.version(version.parent).entries}
    drops = []
    for entry in version.entries:
        old, new = stream.evaluations.get(before[entry.name].theta_key), stream.evaluations.get(entry.theta_key)
        if old and new:
            drops.append(old["validation_accuracy"] - new["validation_accuracy"])
    return max(drops, default=None)


def _similarity(states: Sequence[TaskState]) -> tuple[tuple[float, ...], ...]:
    """Cosine of the full taus of every pair of tasks; 0 where one has none."""
    if not states:
        return ()
    products = sum(gram([_full_tau(state, name) for state in states]) for name in states[0].sigma)
    norms = np.sqrt(np.maximum(np.diagonal(products), 1e-30))
    return tuple(map(tuple, np.clip(products / np.outer(norms, norms), -1, 1).tolist()))


def _full_tau(state: TaskState, name: str) -> Sparse:
    return add(state.tau[name], state.local_shared[name]) if name in state.local_shared else state.tau[name]


def _settings(stream: Stream) -> tuple[tuple[str, str], ...]:
    """Names and values as `apd init --set` takes them."""
    values: dict[str, Any] = to_json(stream.config)
    groups = ("learning", "acceptance", "consolidation")
    return tuple(
        (f"{group}.{name}", value if isinstance(value, str) else json.dumps(value))
        for group in groups
        for name, value in values[group].items()
    )
