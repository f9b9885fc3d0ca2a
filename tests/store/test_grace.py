"""How old things must be before a collection removes them, told by the dates of files in a folder."""

import os
from pathlib import Path

import pytest

from apd.state import Snapshot
from apd.store import Stream
from apd.store.upkeep import collect, plan_collection, verify
from tests.store.same import same_state
from tests.store.samples import candidate_of, info_of, learn

pytestmark = pytest.mark.parametrize("url", ["folder"], indirect=True)

HOUR = 3600.0


def age(stream: Stream) -> None:
    """Make all that is there an hour older."""
    for path in Path(stream.url).rglob("*"):
        if path.is_file():
            moment = path.stat().st_mtime - HOUR
            os.utime(path, (moment, moment))


def test_a_version_is_kept_for_the_grace_period_after_it_was_replaced_however_old_it_is(stream: Stream) -> None:
    learn(stream, "a", 1)
    learn(stream, "b", 2)
    state = stream.load_task(stream.head(), "b")
    age(stream)
    learn(stream, "c", 3)
    plan = collect(stream, keep=1, grace=HOUR / 2)
    assert (plan.kept, plan.collected) == ((2, 3), (0, 1))
    assert same_state(Stream.open(stream.url).load_task(stream.version(2), "b"), state)
    age(stream)
    assert collect(stream, keep=1, grace=HOUR / 2).kept == (3,)
    assert verify(stream).problems == ()


def test_attempts_go_when_their_task_is_learned_and_old_and_not_before(stream: Stream) -> None:
    for name in ("learned", "under-way"):
        stream.inbox.register(info_of(name))
        stream.begin_attempt(name, 0)
        stream.save_attempt(name, Snapshot({}, {"epoch": 1}))
    learn(stream, "learned")
    age(stream)
    stream.begin_attempt("young", 1)
    learn(stream, "young", 2)
    collect(stream, keep=1, grace=HOUR / 2)
    kept = {listed.key.split("/")[1] for listed in stream.objects.list("attempts/")}
    assert kept == {"under-way", "young"}
    assert stream.load_attempt("under-way") is not None


def test_blobs_of_a_commit_under_way_are_young_and_those_of_one_given_up_are_not(stream: Stream) -> None:
    learn(stream, "a", 1)
    given_up = candidate_of(stream, stream.head(), "b", 2)
    stream.clear_attempt("b")
    age(stream)
    under_way = candidate_of(stream, stream.head(), "c", 3)
    stream.clear_attempt("c")
    removed = {blob.key[-64:] for blob in plan_collection(stream, keep=1, grace=HOUR / 2).blobs}
    assert given_up.entry.record in removed
    assert under_way.entry.record not in removed
    collect(stream, keep=1, grace=HOUR / 2)
    assert stream.load_task(stream.commit_candidate(under_way), "c").name == "c"


def test_a_pin_holds_for_the_grace_period(stream: Stream) -> None:
    for seed, name in enumerate("abc"):
        learn(stream, name, seed)
    age(stream)
    stream.marks.pin(1)
    stream.marks.collect(1)
    assert 1 not in plan_collection(stream, keep=1, grace=HOUR / 2).collected
    age(stream)
    assert 1 in plan_collection(stream, keep=1, grace=HOUR / 2).collected
