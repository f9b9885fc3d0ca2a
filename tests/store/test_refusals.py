"""What a gate kept out is kept aside, does not wait any more, and may still be learned."""

import dataclasses

import pytest

from apd.errors import UnknownTask
from apd.state import Snapshot
from apd.store import Stream
from apd.store.forget import Removal
from apd.store.upkeep import collect, rollback, verify
from tests.store.samples import candidate_of, info_of, learn, proposal_of


@pytest.fixture
def refused(stream: Stream) -> Stream:
    """Of three arrivals, the second was refused."""
    learn(stream, "a")
    stream.refusals.keep_task(candidate_of(stream, stream.head(), "b", 1), ["b has 10.0 %", "b gains nothing"])
    learn(stream, "c", 2)
    return stream


def test_a_refused_task_does_not_wait(refused: Stream) -> None:
    assert [one.task for one in refused.inbox.refused()] == ["b"]
    assert refused.inbox.waiting() == []
    assert [entry.name for entry in refused.head().entries] == ["a", "c"]
    found = refused.refusals.task("b")
    assert found is not None
    assert found.reasons == ("b has 10.0 %", "b gains nothing")
    assert refused.refusals.task("a") is None


def test_it_can_be_learned_from_what_was_trained_even_after_a_collection(refused: Stream) -> None:
    collect(refused, keep=1, grace=0)
    found = refused.refusals.task("b")
    assert found is not None
    version = refused.commit_candidate(found.candidate)
    assert [entry.name for entry in version.entries] == ["a", "c", "b"]
    assert refused.load_task(version, "b").name == "b"
    assert refused.inbox.refused() == []
    assert refused.refusals.task("b") is None


def test_withdrawn_it_waits_to_be_trained_again_on_the_newest_version(refused: Stream) -> None:
    refused.begin_attempt("b", 1)
    refused.refusals.withdraw("b")
    assert [one.task for one in refused.inbox.waiting()] == ["b"]
    assert refused.load_candidate("b") is None
    assert refused.begin_attempt("b", 2) == 2


def test_tasks_that_came_after_a_refused_one_are_not_read_to_see_what_waits(
    refused: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(refused, "d", 3)
    refused.inbox.register(info_of("e"))
    read = []
    original = refused.objects.read

    def noted(key: str) -> bytes:
        read.append(key)
        return original(key)

    monkeypatch.setattr(refused.objects, "read", noted)
    assert [one.task for one in refused.inbox.waiting()] == ["e"]
    assert [key for key in read if key.startswith("arrivals/")] == [
        f"arrivals/{number:08d}.json" for number in (2, 5, 6)
    ]


def test_refused_consolidations_are_known_by_the_version_they_started_from(stream: Stream) -> None:
    learn(stream, "a")
    learn(stream, "b", 2)
    assert stream.refusals.consolidations(2) == []
    proposal = proposal_of(stream)
    for _ in range(2):
        place = stream.refusals.keep_consolidation(proposal, ["a would lose 40.0 points"], {"a": (0.9, 0.5)})
    assert f"/refused/consolidations/00000002/{proposal.commit_id[:8]}.json" in place
    (found,) = stream.refusals.consolidations(2)
    assert (found.base, found.reasons, found.accuracies) == (2, ("a would lose 40.0 points",), {"a": (0.9, 0.5)})
    assert found.details["tolerance"] == 3.0
    assert stream.refusals.consolidations(1) == []


def assert_gone(stream: Stream, task: str, blobs: set[str]) -> None:
    """Nothing of the task is left but its arrival and the version that forgot it."""
    assert not blobs & {item.key.split("/")[-1] for item in stream.objects.list("blobs/")}
    areas = (f"attempts/{task}/", f"tasks/{task}/", f"refused/tasks/{task}", f"names/{task}", "comparisons/")
    assert [item.key for area in areas for item in stream.objects.list(area) if task in item.key] == []
    assert stream.refusals.task(task) is None
    assert task not in {one.task for one in (*stream.inbox.waiting(), *stream.inbox.refused())}
    assert verify(stream).problems == ()


def test_forgotten_its_blobs_its_proposal_and_its_data_go_with_evidence(refused: Stream) -> None:
    before = refused.head()
    candidate = refused.refusals.task("b").candidate
    record = refused.records.read_record(candidate.entry.record)
    own = {candidate.entry.record, candidate.step, candidate.statistics, record["tensors"]} | {record["tau"]} - {None}
    own |= {candidate.sigma.delta} - {None}
    version = refused.commit_forget("b")
    assert (version.kind, version.message) == ("forget", "forgot b, which was never learned")
    assert version.details["records"] == [candidate.entry.record]
    assert version.details["unchanged"] == 2
    assert version.details["evidence"]["before"] == version.details["evidence"]["after"]
    assert (version.entries, version.sigma, version.statistics) == (before.entries, before.sigma, before.statistics)
    assert_gone(refused, "b", own)
    assert refused.commit_forget("b").number == version.number
    assert [entry.name for entry in learn(refused, "d", 4).entries] == ["a", "c", "d"]


def test_one_that_waits_can_be_forgotten_and_its_name_used_again(refused: Stream) -> None:
    refused.inbox.register(info_of("e"))
    refused.begin_attempt("e", 3)
    assert refused.commit_forget("e").details["records"] == []
    assert_gone(refused, "e", set())
    learn(refused, "e", 5)
    assert refused.head().has("e")
    assert not refused.commit_forget("e").has("e")


def carrying(stream: Stream, task: str) -> list[str]:
    """Blobs that are this task's alone."""
    return [digest for digest in stream.blobs.stored() if stream.blobs.owner(digest).get("task") == task]


def test_forgotten_it_leaves_nothing_of_a_consolidation_that_was_refused(stream: Stream) -> None:
    for seed, name in enumerate("abc"):
        learn(stream, name, seed)
    proposal = proposal_of(stream)
    stream.refusals.keep_consolidation(proposal, ["a would lose 40.0 points"], {"a": (0.9, 0.5)})
    assert len(carrying(stream, "b")) == 7  # twice a record, its tensors and tau; and its step
    stream.commit_forget("b")
    assert carrying(stream, "b") == []
    assert [stream.load_entry(entry).name for entry in proposal.entries if entry.name != "b"] == ["a", "c"]
    assert verify(stream).problems == ()


def test_forgotten_it_leaves_nothing_of_a_training_that_was_tried_again(refused: Stream) -> None:
    refused.refusals.withdraw("b")
    learn(refused, "b", 7)
    refused.commit_forget("b")
    assert carrying(refused, "b") == []
    assert_gone(refused, "b", set())


def test_forgotten_while_it_is_trained_it_is_not_saved_again(stream: Stream) -> None:
    stream.inbox.register(info_of("b"))
    stream.begin_attempt("b", 0)
    stream.save_attempt("b", Snapshot({}, {"epoch": 1}))
    Stream.open(stream.url).commit_forget("b")
    with pytest.raises(UnknownTask, match="'b' was forgotten meanwhile"):
        stream.save_attempt("b", Snapshot({}, {"epoch": 2}))
    assert_gone(stream, "b", set())


def test_forgetting_goes_by_the_arrival_not_by_the_name(stream: Stream) -> None:
    learn(stream, "b", 1)
    forgotten = stream.commit_forget("b")
    learn(stream, "b", 2)
    assert not stream.is_forgotten("b")
    Removal(stream.objects, stream.inbox).remove(forgotten)
    assert stream.load_task(stream.head(), "b").name == "b"
    assert len(carrying(stream, "b")) == 4


def test_whether_it_is_forgotten_is_told_of_what_waits_is_learned_or_was_set_aside(refused: Stream) -> None:
    refused.inbox.register(info_of("e"))
    learn(refused, "d", 4)
    rollback(refused, refused.head().number - 1)
    assert [refused.is_forgotten(name) for name in "abcde"] == [False] * 5
    for name in "bde":
        refused.commit_forget(name)
        assert refused.is_forgotten(name)
    with pytest.raises(UnknownTask):
        refused.is_forgotten("never")


def test_the_first_task_refused_and_forgotten_leaves_no_sigma(stream: Stream) -> None:
    candidate = candidate_of(stream, stream.head(), "a", 1)
    stream.refusals.keep_task(candidate, ["a has 10.0 %"])
    version = stream.commit_forget("a")
    assert version.sigma is None
    assert_gone(stream, "a", {candidate.sigma.base, candidate.statistics})
    assert not list(stream.objects.list("blobs/"))


def test_refused_consolidations_are_in_the_order_in_which_they_were_tried(stream: Stream) -> None:
    learn(stream, "a")
    learn(stream, "b", 2)
    proposal = proposal_of(stream)
    for tolerance in (0.1, 0.9, 0.3):
        tried = dataclasses.replace(
            proposal, commit_id=f"{tolerance}".ljust(32, "0"), details={**proposal.details, "tolerance": tolerance}
        )
        stream.refusals.keep_consolidation(tried, ["too dear"], {"a": (0.9, 0.5)})
    assert [one.details["tolerance"] for one in stream.refusals.consolidations(2)] == [0.9, 0.3, 0.1]
    assert [one.details["tolerance"] for one in stream.refusals.consolidations()] == [0.9, 0.3, 0.1]
