"""All that the report of a version shows, gathered from the store."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from apd.config import to_json
from apd.consolidation.arrays import add
from apd.consolidation.embedding import gram
from apd.networks import Network, from_config
from apd.overview.facts import accuracies_of
from apd.overview.growth import GROWING, growth, path_to
from apd.report.content import AccuracyRow, ClusterRow, LayerRow, Report, TaskRow
from apd.state import Sparse, TaskState
from apd.store import Stream, TaskEntry, Version
from apd.store.blobs import in_parallel


def build_report(stream: Stream, version: Version) -> Report:
    """Everything about a version: accuracies from what was measured, sizes from what is stored. Empty without tasks.

    Of tasks that were forgotten since nothing can be told.
    """
    network, gone = from_config(stream.config), stream.forgotten_since(version)
    grown, history = growth(stream, version), _history(stream, version)
    entries = [entry for entry in version.entries if entry.name not in gone]
    if entries and version.sigma:
        stream.load_sigma(version.sigma)  # once, before several at a time want it
    states = in_parallel(lambda entry: stream.load_task(version, entry.name), entries)
    return Report(
        stream=stream.name,
        version=version.number,
        created=version.created,
        network=stream.config.network.name,
        parameters=network.spec(2).size,
        network_bytes=_network_bytes(network, entries),
        tasks=_task_rows(stream, entries, network.spec(2).size),
        accuracy=_accuracy_rows(stream, entries, history),
        capacity=grown.capacity,
        layers=_layers(stream, list(network.spec(2).shared), states, history),
        consolidations=grown.consolidations,
        fine_tuning=_fine_tuning(stream, entries),
        similarity=_similarity(states),
        settings=_settings(stream),
    )


def _history(stream: Stream, version: Version) -> list[Version]:
    """The versions on the path to this one that changed what the tasks are, the oldest first."""
    numbered = {past.number: past for past in stream.log()}
    path = path_to(version, numbered.__getitem__)
    return [past for past in path if past.entries and past.kind in GROWING][::-1]


def _network_bytes(network: Network, entries: Sequence[TaskEntry]) -> int:
    """Of one dense network with the head of the task that has most classes."""
    classes = max((len(entry.classes) for entry in entries), default=2)
    return sum(tensor.nbytes for tensor in network.initial(classes, 0).values())


def _task_rows(stream: Stream, entries: Sequence[TaskEntry], parameters: int) -> tuple[TaskRow, ...]:
    measured, compared = accuracies_of(stream, entries), stream.comparisons.get_all(entry.name for entry in entries)
    tuned: Mapping[str, float] = next((record["fine_tuning"] for record in reversed(compared.values()) if record), {})
    return tuple(
        TaskRow(
            name=entry.name,
            classes=entry.classes,
            accuracy_when_learned=entry.test_accuracy,
            accuracy_now=measured[entry.theta_key],
            separate=(compared[entry.name] or {}).get("separate"),
            fine_tuning=tuned.get(entry.name),
            tau_density=entry.tau_nnz / parameters,
            bytes=entry.bytes,
            seconds=entry.seconds,
        )
        for entry in entries
    )


def _accuracy_rows(stream: Stream, entries: Sequence[TaskEntry], history: Sequence[Version]) -> tuple[AccuracyRow, ...]:
    measured = accuracies_of(stream, [entry for past in history for entry in past.entries])
    rows = []
    for past in history:
        there = {entry.name: entry.theta_key for entry in past.entries}
        row = (measured[there[entry.name]] if entry.name in there else None for entry in entries)
        rows.append(AccuracyRow(past.number, past.kind, tuple(row)))
    return tuple(rows)


def _fine_tuning(stream: Stream, entries: Sequence[TaskEntry]) -> tuple[AccuracyRow, ...]:
    compared, rows = stream.comparisons.get_all(entry.name for entry in entries), []
    for entry in entries:
        record = compared[entry.name]
        if record:
            accuracies = tuple(record["fine_tuning"].get(other.name) for other in entries)
            rows.append(AccuracyRow(entry.learned_in, "learn", accuracies))
    return tuple(rows)


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
