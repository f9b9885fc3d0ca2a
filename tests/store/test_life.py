"""One stream from beginning to end, in every place."""

import time
from pathlib import Path

from apd.store import Stream
from apd.store.formats import decode_document, encode_document
from apd.store.stream import CONFIG
from apd.store.upkeep import collect, compare, fork, rollback, usage, verify
from tests.store.same import same_state
from tests.store.samples import consolidated, learn_four

RESOLUTION = 1.1
"""Seconds after which every server's clock, which may count whole seconds, has moved on."""


def test_a_setting_that_was_dropped_is_read_over(stream: Stream) -> None:
    body = decode_document("stream", stream.objects.read(CONFIG), CONFIG)
    body["config"]["learning"]["drift"] = 100.0
    stream.objects.put(CONFIG, encode_document("stream", body))
    assert Stream.open(stream.url).config == stream.config


def test_a_stream_lives(stream: Stream, tmp_path: Path) -> None:
    learn_four(stream, tmp_path)
    consolidated(stream)
    stream.commit_forget("c")
    states = {name: stream.load_task(stream.head(), name) for name in "abd"}

    assert verify(stream).problems == ()
    assert [change.change for change in compare(stream, 5, 6)] == ["same", "same", "same", "removed"]
    time.sleep(RESOLUTION)
    plan = collect(stream, keep=2, grace=0)
    assert plan.kept == (5, 6)
    assert plan.bytes > 0
    assert verify(stream).problems == ()
    forked = fork(stream, 6, str(tmp_path / "fork"))
    version = rollback(stream, 5)

    opened = Stream.open(stream.url)
    assert opened.head() == version
    assert all(same_state(opened.load_task(version, name), states[name]) for name in "abd")
    assert all(same_state(forked.load_task(forked.head(), name), states[name]) for name in "abd")
    assert verify(opened).problems == verify(forked).problems == ()
    assert usage(opened).by_task.keys() == {"a", "b", "d"}
