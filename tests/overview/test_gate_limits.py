"""Where exactly the gates close: what is demanded is enough, and what is allowed may be lost."""

import dataclasses
import uuid
from typing import Any

import pytest

from apd.config import AcceptanceConfig, ConsolidationConfig
from apd.overview.gates import accuracies_before_and_after, reasons_to_refuse, shortfalls
from apd.store import Candidate, Proposal, Stream
from tests.store.samples import CONFIG, candidate_of, learn, proposal_of


def stream_with(**settings: Any) -> Stream:
    return Stream.create(f"memory://{uuid.uuid4().hex}", dataclasses.replace(CONFIG, **settings))


def trained(stream: Stream, accuracy: float | None, baseline: float | None) -> Candidate:
    candidate = candidate_of(stream, stream.head(), "a")
    entry = dataclasses.replace(candidate.entry, validation_accuracy=accuracy, baseline=baseline)
    return dataclasses.replace(candidate, entry=entry)


@pytest.mark.parametrize(
    ("demanded", "accuracy", "baseline", "reason"),
    [
        (AcceptanceConfig(), None, None, None),
        (AcceptanceConfig(min_accuracy=0.9), 0.9, None, None),
        (AcceptanceConfig(min_accuracy=0.9), 0.899, None, "a has 89.9 % validation accuracy; at least 90.0 % is"),
        (AcceptanceConfig(min_accuracy=0.0), None, None, "a has unknown validation accuracy"),
        (AcceptanceConfig(min_gain=0.2), 0.7, 0.5, None),
        (AcceptanceConfig(min_gain=0.2), 0.69, 0.5, "most frequent class 50.0 %; at least 20 points more than that"),
        (AcceptanceConfig(min_gain=0.0), 0.4, 0.5, "at least 0 points more"),
        (AcceptanceConfig(min_gain=0.0), 0.9, None, "most frequent class unknown"),
        (AcceptanceConfig(min_gain=0.0), None, 0.5, "a has unknown validation accuracy"),
    ],
)
def test_a_new_task_has_to_reach_what_is_demanded_and_no_more(
    demanded: AcceptanceConfig, accuracy: float | None, baseline: float | None, reason: str | None
) -> None:
    stream = stream_with(acceptance=demanded)
    found = shortfalls(stream, trained(stream, accuracy, baseline))
    assert len(found) == (reason is not None)
    assert (reason or "") in "".join(found)


def consolidation_of(stream: Stream, changes: dict[str, tuple[float, float]]) -> Proposal:
    """Of tasks whose validation accuracy it changes so."""
    for seed, name in enumerate(changes):
        learn(stream, name, seed)
    proposal, head = proposal_of(stream), stream.head()
    rewritten = {entry.name: entry for entry in proposal.entries}
    for name, (before, after) in changes.items():
        for entry, accuracy in ((rewritten[name], after), (head.entry(name), before)):
            stream.evaluations.put(entry.theta_key, {"validation_accuracy": accuracy})
    return proposal


def test_a_consolidation_may_cost_a_task_what_is_allowed_and_no_more() -> None:
    stream = stream_with(consolidation=ConsolidationConfig(max_accuracy_drop=0.02))
    changes = {"a": (0.5, 0.48), "b": (0.5, 0.47), "c": (0.5, 0.9), "d": (0.9, 0.9)}
    proposal = consolidation_of(stream, changes)
    assert accuracies_before_and_after(stream, proposal) == changes
    assert reasons_to_refuse(stream, proposal) == [
        "b would lose 3.0 points of validation accuracy; at most 2 are allowed"
    ]
