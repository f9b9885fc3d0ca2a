"""Commits that others were quicker than: what is added to the new head is what the task alone brings."""

import dataclasses

import pytest
import torch

from apd.decomposition import add_masks
from apd.errors import StateError, UnknownTask
from apd.state import Learned, Sparse
from apd.store import Candidate, Stream, Version
from apd.store.manifest import FEW, RECENT
from apd.store.upkeep import verify
from tests.store.same import same_tensors
from tests.store.samples import METRICS, SHAPES, candidate_of, consolidated, info_of, learn, learned_on

pytestmark = pytest.mark.parametrize("url", ["memory"], indirect=True)


def with_step(stream: Stream, base: Version, name: str, elements: int) -> Candidate:
    """A task whose training moved the first elements of each shared parameter by one."""
    arrival = stream.arrival(base)
    assert arrival.sigma is not None
    step = {
        key: Sparse(shape, torch.arange(elements), torch.ones(elements)) for key, shape in SHAPES.items()
    }  # fmt: skip
    sigma = {key: step[key].add_to(tensor) for key, tensor in arrival.sigma.items()}
    task = dataclasses.replace(learned_on(arrival, name, 5).task, sigma=sigma)
    number = stream.inbox.register(info_of(name))
    learned = Learned(task, step, validation_accuracy=0.9)
    return stream.write_candidate(learned, base=base, info=info_of(name), metrics=METRICS, arrival=number)


def sums_are_those_of(stream: Stream, names: str) -> bool:
    """Whether the head's statistics are of these tasks and no others, bit for bit."""
    head, pull = stream.head(), {}
    for name in names:
        pull = add_masks(pull, stream.load_task(head, name).mask_logits)
    found = stream.arrival(head)
    return same_tensors(found.pull, pull)


@pytest.mark.parametrize("elements", [0, 1, 3])
def test_a_step_of_any_size_is_added_to_what_others_made_of_sigma(stream: Stream, elements: int) -> None:
    base = learn(stream, "a", 1)
    late = with_step(stream, base, "c", elements)
    before = stream.load_sigma(learn(stream, "b", 2).sigma)
    after = stream.load_sigma(stream.commit_candidate(late).sigma)
    for key, tensor in before.items():
        moved = torch.arange(tensor.numel()).reshape(tensor.shape) < elements
        assert after[key].equal(tensor + moved)
    assert sums_are_those_of(stream, "abc")


def test_a_task_that_left_sigma_where_it_was_counts_all_the_same(stream: Stream) -> None:
    base = learn(stream, "a", 1)
    quick, late = with_step(stream, base, "b", 0), candidate_of(stream, base, "c", 3)
    assert stream.commit_candidate(quick).sigma == base.sigma
    stream.commit_candidate(late)
    assert sums_are_those_of(stream, "abc")


def test_nothing_of_a_task_that_was_forgotten_meanwhile_is_added(stream: Stream) -> None:
    late = candidate_of(stream, learn(stream, "a", 1), "b", 2)
    stream.commit_forget("a")
    assert stream.commit_candidate(late).sigma == late.sigma
    assert sums_are_those_of(stream, "b")
    assert verify(stream).problems == ()


def test_a_late_commit_of_a_task_that_was_forgotten_does_not_bring_it_back(stream: Stream) -> None:
    late = candidate_of(stream, stream.head(), "a", 1)
    stream.commit_candidate(late)
    stream.commit_forget("a")
    with pytest.raises(UnknownTask, match=r"'a' .arrival 1. was forgotten or rolled back; version 2 does not"):
        stream.commit_candidate(late)
    again = learn(stream, "a", 2)
    with pytest.raises(UnknownTask, match="version 3 does not have it"):
        stream.commit_candidate(late)
    assert stream.head() == again


def test_a_name_is_in_a_version_once(stream: Stream) -> None:
    first = candidate_of(stream, stream.head(), "a", 1)
    other = dataclasses.replace(first, arrival=2)
    stream.commit_candidate(first)
    with pytest.raises(StateError, match="version 1 has another task named 'a'"):
        stream.commit_candidate(other)


def test_arrivals_are_settled_in_any_order(stream: Stream) -> None:
    base = stream.head()
    candidates = [candidate_of(stream, base, name, seed) for seed, name in enumerate("abcde")]
    seen = []
    for number in (2, 5, 3, 1, 4):
        version = stream.commit_candidate(candidates[number - 1])
        seen.append((version.watermark, version.settled))
        left = [arrival for arrival in range(1, 6) if not version.is_settled(arrival)]
        assert [one.number for one in stream.inbox.waiting()] == left
    assert seen == [(0, (2,)), (0, (2, 5)), (0, (2, 3, 5)), (3, (5,)), (5, ())]
    assert verify(stream).problems == ()


def test_a_table_of_old_entries_is_used_as_long_as_they_are_what_they_were(stream: Stream) -> None:
    names = [f"t{number}" for number in range(FEW + 1)]
    for seed, name in enumerate(names):
        learn(stream, name, seed)
    sealed = stream.head().sealed
    assert sealed is not None
    assert sealed.count == FEW + 1
    assert learn(stream, "later", 20).sealed == sealed
    stream.commit_forget("t3")
    rewritten = consolidated(stream)
    assert sealed not in (stream.version(rewritten.number - 1).sealed, rewritten.sealed)
    last = learn(stream, "last", 21)
    found = Stream.open(stream.url).head()
    assert found.entries == last.entries
    assert [entry.name for entry in found.entries] == [*(name for name in names if name != "t3"), "later", "last"]
    assert found.entries[:-1] == rewritten.entries


def test_a_manifest_holds_so_many_entries_beside_the_table_and_then_a_new_table_is_made(stream: Stream) -> None:
    first = learn(stream, "t0")
    for count, sealed in (
        (FEW, 0),
        (FEW + 1, FEW + 1),
        (FEW + 1 + RECENT, FEW + 1),
        (FEW + 2 + RECENT, FEW + 2 + RECENT),
    ):
        head = stream.head()
        entries = tuple(
            dataclasses.replace(first.entries[0], name=f"t{number}", arrival=number + 1) for number in range(count)
        )
        version = dataclasses.replace(head, number=head.number + 1, parent=head.number, entries=entries)
        found = stream.history.append(version, head).sealed
        assert (found.count if found else 0) == sealed
        assert Stream.open(stream.url).head().entries == entries
