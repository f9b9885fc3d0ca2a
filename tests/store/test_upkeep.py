"""Looking after a stream as a whole."""

import dataclasses
from pathlib import Path

import pytest

from apd.consolidation import consolidate
from apd.decomposition import compose
from apd.errors import AlreadyExists, ConfigError, NotFound, UnknownTask
from apd.state import Snapshot
from apd.store import Stream
from apd.store.attempts import REFIT, learned_again
from apd.store.formats import encode_snapshot
from apd.store.transfer import copy_stream
from apd.store.upkeep import collect, compare, plan_collection, rollback, usage, verify
from tests.store.same import same_state
from tests.store.samples import CONFIG, SETTINGS, candidate_of, consolidated, everything, grow, learn, proposal_of

pytestmark = pytest.mark.parametrize("url", ["folder", "memory"], indirect=True)
"""What is behind the objects does not matter here; `test_life` runs all of it on every place."""


@pytest.fixture
def grown(stream: Stream, tmp_path: Path) -> Stream:
    """What `grow` makes."""
    grow(stream, tmp_path)
    return stream


def test_a_consolidation_is_committed_with_all_tasks_on_one_sigma(stream: Stream) -> None:
    for seed, name in enumerate("abcd"):
        learn(stream, name, seed)
    before = stream.head()
    version = consolidated(stream)
    opened = Stream.open(stream.url)
    assert (version.number, version.kind, len(version.entries)) == (5, "consolidate", 4)
    assert {opened.record(entry)["sigma"]["base"] for entry in version.entries} == {version.sigma.base}
    assert any(opened.load_task(version, name).clusters for name in "abcd")
    for name in "abcd":
        old, new = compose(opened.load_task(before, name)), compose(opened.load_task(version, name))
        assert all((old[key] - new[key]).abs().max() <= SETTINGS.tolerance for key in old)
    assert set(opened.consolidation_report(version)) == {"first.weight", "second.weight"}
    assert opened.clustering(version).rounds == 1
    assert opened.arrival(version).earlier == 4


def test_a_stream_in_which_nothing_has_arrived_is_whole(stream: Stream) -> None:
    assert verify(stream).problems == ()


def test_a_consolidation_of_an_old_head_is_refused_and_a_repeated_one_is_not(stream: Stream) -> None:
    for seed, name in enumerate("ab"):
        learn(stream, name, seed)
    head = stream.head()
    tasks = [stream.load_entry(entry) for entry in head.entries]
    outcome = consolidate(tasks, stream.load_sigma(head.sigma), stream.clustering(head), SETTINGS)
    first, second = (stream.write_consolidation(outcome, base=head) for _ in range(2))
    assert stream.commit_consolidation(first).number == 3
    assert stream.commit_consolidation(first).number == 3
    with pytest.raises(AlreadyExists, match=r"version 3 .consolidate.*came after version 2"):
        stream.commit_consolidation(second)
    stream.refusals.keep_consolidation(second, ["task a lost 3 %"], {"a": (0.9, 0.87)})
    assert verify(stream).problems == ()


def test_a_whole_stream_verifies(grown: Stream) -> None:
    found = verify(grown)
    assert found.problems == ()
    assert (found.versions, found.arrivals, found.tasks, found.unneeded) == (7, 6, 9, 5)
    assert found.clean


def test_steps_of_learned_tasks_are_all_that_is_unneeded(grown: Stream) -> None:
    steps = {grown.record(entry)["step"] for version in grown.log() for entry in version.entries} - {None}
    plan = plan_collection(grown, keep=10, grace=0)
    assert {blob.key.rsplit("/", 1)[-1] for blob in plan.blobs} == steps


def test_a_plan_removes_nothing(grown: Stream) -> None:
    before = everything(grown)
    plan = plan_collection(grown, keep=1, grace=0)
    assert everything(grown) == before
    assert plan.bytes > 0
    assert plan.kept == (6,)


def test_a_collection_keeps_what_it_promised(grown: Stream) -> None:
    states = {name: grown.load_task(grown.head(), name) for name in "abcde"}
    plan = collect(grown, keep=2, grace=0)
    assert (plan.kept, plan.collected) == ((5, 6), (0, 1, 2, 3, 4))
    opened = Stream.open(grown.url)
    assert all(same_state(opened.load_task(opened.head(), name), states[name]) for name in "abcde")
    assert [version.number for version in opened.log()] == [6, 5, 4, 3, 2, 1, 0]
    assert opened.consolidation_report(opened.version(5))
    found = verify(opened)
    assert found.problems == ()
    assert (found.collected, found.unneeded) == (5, 0)
    with pytest.raises(NotFound, match="version 2 was removed by garbage collection"):
        opened.load_task(opened.version(2), "b")
    assert collect(opened, keep=2, grace=0).blobs == ()


def test_a_collection_keeps_what_was_head_within_the_grace_period(grown: Stream) -> None:
    plan = collect(grown, keep=1, grace=3600)
    assert plan.collected == ()
    assert plan.blobs == ()


def test_a_collection_keeps_what_an_attempt_trains_on(grown: Stream) -> None:
    assert grown.begin_attempt("g", 2) == 2
    assert collect(grown, keep=1, grace=0).kept == (2, 6)
    assert grown.arrival(Stream.open(grown.url).version(2)).earlier == 2


def test_a_pinned_version_survives_and_a_collected_one_cannot_be_pinned(grown: Stream) -> None:
    grown.marks.pin(1)
    assert 1 not in collect(grown, keep=1, grace=0.0).kept
    with pytest.raises(NotFound, match="version 1 was removed"):
        grown.marks.pin(1)


def test_a_pin_that_came_before_the_mark_protects_even_a_marked_version(grown: Stream) -> None:
    state = grown.load_task(grown.version(1), "a")
    grown.marks.pin(1)
    grown.marks.collect(1)
    plan = plan_collection(grown, keep=1, grace=3600)
    assert 1 not in plan.collected
    assert same_state(Stream.open(grown.url).load_task(grown.version(1), "a"), state)


def test_a_trained_task_may_wait_for_its_commit_through_any_collection(grown: Stream) -> None:
    candidate = candidate_of(grown, grown.version(3), "g", 9)
    collect(grown, keep=1, grace=0)
    waiting = Stream.open(grown.url).load_candidate("g")
    assert waiting == candidate
    version = grown.commit_candidate(waiting)
    assert same_state(Stream.open(grown.url).load_task(version, "g"), grown.load_entry(candidate.entry))
    assert grown.load_candidate("g") is None
    assert verify(grown).problems == ()


def test_a_collection_that_died_half_way_is_finished_by_the_next(grown: Stream) -> None:
    grown.marks.pin(2)
    grown.marks.collect(2)
    grown.blobs.delete(grown.version(2).entry("b").record)
    collect(grown, keep=1, grace=0)
    assert verify(grown).problems == ()


def test_collection_refuses_nonsense(stream: Stream) -> None:
    with pytest.raises(ConfigError, match="keep is 0"):
        collect(stream, keep=0)


def attempts(stream: Stream) -> set[str]:
    return {listed.key.split("/")[1] for listed in stream.objects.list("attempts/")}


def begin_on_all(stream: Stream) -> None:
    """Attempts at what is trained on several tasks, beside the one at task f."""
    for name in ("_comparison", REFIT, learned_again("a")):
        stream.save_attempt(name, Snapshot({}, {"epoch": 1}))
    assert attempts(stream) == {"f", "_comparison", "_refit", "_refit.a"}


def test_forgetting_a_task_takes_along_what_is_trained_on_several(grown: Stream) -> None:
    begin_on_all(grown)
    grown.commit_forget("b")
    assert attempts(grown) == {"f"}


def test_an_attempt_that_came_after_its_task_was_forgotten_is_collected(grown: Stream) -> None:
    """As of an actor that died between saving it and looking whether the task is still there."""
    for name in ("f", "gone"):
        grown.objects.put(f"attempts/{name}/snapshot.safetensors", encode_snapshot({}, {"epoch": 2}))
    collect(grown, keep=1, grace=3600)
    assert attempts(grown) == {"f", "gone"}
    collect(grown, keep=1, grace=0)
    assert attempts(grown) == {"f"}


def test_an_old_attempt_at_sigma_is_collected(grown: Stream) -> None:
    begin_on_all(grown)
    collect(grown, keep=1, grace=3600)
    assert attempts(grown) == {"f", "_comparison", "_refit", "_refit.a"}
    collect(grown, keep=1, grace=0)
    assert attempts(grown) == {"f", "_comparison"}


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("accepted", [True, False])
def test_once_it_is_decided_nothing_is_left_of_learning_sigma_again(grown: Stream, refit: bool, accepted: bool) -> None:
    begin_on_all(grown)
    made = proposal_of(grown)
    proposal = dataclasses.replace(made, details={**made.details, "refit": refit})
    if accepted:
        grown.commit_consolidation(proposal)
    else:
        grown.refusals.keep_consolidation(proposal, ["a would lose 40.0 points"], {"a": (0.9, 0.5)})
    assert attempts(grown) == {"f", "_comparison"} | (set() if refit else {"_refit", "_refit.a"})


def test_usage_adds_up(grown: Stream) -> None:
    found = usage(grown)
    assert found.total == sum(listed.size for listed in grown.objects.list("")) == sum(found.by_kind.values())
    assert {"sigma", "tau", "tensors", "record", "versions", "tasks"} <= found.by_kind.keys()
    assert found.by_task.keys() == set("abcdef")
    blobs = sum(listed.size for listed in grown.objects.list("blobs/"))
    assert sum(found.by_version.values()) == blobs - found.by_kind["unneeded"]
    assert 0 < found.parameters < blobs


def test_usage_takes_what_is_trained_beside_the_tasks_for_none_of_them(grown: Stream) -> None:
    before = usage(grown)
    grown.save_attempt("_comparison", Snapshot({}, {"epoch": 1}))
    found = usage(grown)
    assert found.by_task == before.by_task
    assert found.by_kind["attempts"] > before.by_kind["attempts"]


def test_comparing_versions_says_what_changed(grown: Stream) -> None:
    changes = {change.task: change for change in compare(grown, 4, 6)}
    assert changes["e"].change == "added"
    assert changes["e"].tau_nnz[0] is None
    assert changes["a"].change == "changed"
    assert {"tau", "clusters"} <= set(changes["a"].parts)
    assert "private" not in changes["a"].parts
    assert [change.change for change in compare(grown, 5, 6)] == [*["same"] * 4, "added"]
    assert [change.change for change in compare(grown, 6, 5)] == [*["same"] * 4, "removed"]


def test_a_rollback_equals_the_old_version(grown: Stream) -> None:
    old = grown.version(3)
    states = {name: grown.load_task(old, name) for name in "abc"}
    version = rollback(grown, 3)
    assert (version.number, version.kind, version.entries, version.sigma) == (7, "rollback", old.entries, old.sigma)
    assert version.details["without"] == ["d", "e"]
    assert all(same_state(Stream.open(grown.url).load_task(version, name), states[name]) for name in "abc")
    assert [one.task for one in grown.inbox.waiting()] == ["f"]
    learn(grown, "g", 6)
    assert verify(grown).problems == ()


def test_a_rollback_does_not_bring_back_what_was_forgotten(grown: Stream) -> None:
    grown.commit_forget("b")
    version = rollback(grown, 3)
    assert [entry.name for entry in version.entries] == ["a", "c"]
    assert grown.arrival(version).earlier == 2
    with pytest.raises(UnknownTask):
        version.entry("b")
    assert verify(grown).problems == ()


def test_a_rollback_to_what_is_gone_or_here_is_refused(grown: Stream) -> None:
    with pytest.raises(ConfigError, match="newest already"):
        rollback(grown, 6)
    with pytest.raises(NotFound, match="no version 9"):
        rollback(grown, 9)
    collect(grown, keep=1, grace=0)
    with pytest.raises(NotFound, match="garbage collection"):
        rollback(grown, 2)
    assert grown.head().number == 6


def test_versions_that_list_a_forgotten_task_can_still_be_compared(grown: Stream) -> None:
    grown.commit_forget("b")
    assert grown.forgotten_since(grown.version(5)) == ("b",)
    assert grown.forgotten_since(grown.head()) == ()
    changes = {change.task: change for change in compare(grown, 4, 5)}
    assert (changes["b"].change, changes["b"].parts) == ("forgotten", ())
    assert changes["a"].change == "changed"
    assert [change.change for change in compare(grown, 5, 7)] == [*["same"] * 3, "added", "removed"]


def test_empty_files_of_a_stream_are_copied_with_it(grown: Stream, tmp_path: Path) -> None:
    """As in a task that was accepted by an earlier release, or in a folder that waits."""
    data, waiting = tmp_path / "empty", "inbox/shoes/_SUCCESS"
    data.touch()
    grown.objects.upload(data, waiting)
    saved = copy_stream(grown, str(tmp_path / "saved"))
    assert saved.objects.stat(waiting).size == 0


def test_a_stream_can_forget_every_task_and_begin_again(stream: Stream) -> None:
    learn(stream, "a", 1)
    version = stream.commit_forget("a")
    assert (version.sigma, version.statistics, version.entries) == (None, None, ())
    learn(stream, "a", 2)
    assert [entry.arrival for entry in stream.head().entries] == [2]
    assert verify(stream).problems == ()
    assert Stream.open(stream.url).config == CONFIG
