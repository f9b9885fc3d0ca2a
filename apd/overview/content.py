"""All that the report of a version shows, gathered from the store."""

from collections.abc import Mapping, Sequence
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

GROWING = ("learn", "consolidate", "prune", "forget")
"""Kinds of versions that change what a task is or which tasks there are."""


def build_report(stream: Stream, version: Version) -> Report:
    """Everything about a version: accuracies from what was measured, sizes from what is stored. Empty without tasks."""
    network = from_config(stream.config)
    specs = {count: network.spec(count) for count in {len(entry.classes) for entry in version.entries}}
    history = [past for past in stream.log(newest_first=False) if past.number <= version.number and past.entries]
    history = [past for past in history if past.kind in GROWING]
    states = [stream.load_task(version, entry.name) for entry in version.entries]
    return Report(
        stream=stream.name,
        version=version.number,
        created=version.created,
        network=stream.config.network.name,
        parameters=network.spec(2).size,
        network_bytes=_network_bytes(network, version.entries),
        tasks=_task_rows(stream, version.entries, network.spec(2).size),
        accuracy=_accuracy_rows(stream, version.entries, history),
        capacity=_capacity(stream, history, specs, network),
        layers=_layers(stream, states, history),
        consolidations=tuple(_consolidation(stream, past) for past in history if past.kind == "consolidate"),
        fine_tuning=_fine_tuning(stream, version.entries),
        similarity=_similarity(states),
        settings=_settings(stream),
    )


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


def _capacity(
    stream: Stream, history: Sequence[Version], specs: Mapping[int, Spec], network: Network
) -> tuple[CapacityPoint, ...]:
    """Of every version whose size is known."""
    points = []
    for past in history:
        counts = {len(entry.classes) for entry in past.entries}
        found = _size(stream, past, {count: specs.get(count) or network.spec(count) for count in counts})
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


def _layers(stream: Stream, states: Sequence[TaskState], history: Sequence[Version]) -> tuple[LayerRow, ...]:
    if not states:
        return ()
    last = next((past for past in reversed(history) if past.kind == "consolidate"), None)
    moves = stream.consolidation_report(last) if last else {}
    rows = []
    for name, sigma in states[0].sigma.items():
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


def _consolidation(stream: Stream, version: Version) -> ConsolidationRow:
    parts = stream.consolidation_report(version)
    return ConsolidationRow(
        version=version.number,
        accepted=True,
        tasks=len(version.entries),
        clusters=sum(len(part["members"]) for part in parts.values()),
        shared_elements=sum(part["local_shared_after"] for part in parts.values()),
        tau_before=version.details["tau_before"],
        tau_after=version.details["tau_after"],
        largest_move=version.details["largest_move"],
        largest_drop=_largest_drop(stream, version),
        seconds=None,
    )


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
    values: dict[str, Any] = to_json(stream.config)
    groups = ("learning", "consolidation")
    return tuple((name, str(value)) for group in groups for name, value in values[group].items())
