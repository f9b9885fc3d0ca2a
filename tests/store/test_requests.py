"""A thousand tasks cost a reader and a committer what ten do, in requests that a server really got."""

import dataclasses

import pytest

from apd.store import Stream
from apd.store.commits import successor
from apd.store.history import version_key
from apd.store.manifest import RECENT
from tests.store.samples import candidate_of, learn

pytestmark = pytest.mark.parametrize("url", ["moto_server"], indirect=True)


def grow(stream: Stream, count: int) -> None:
    """Let the stream have `count` tasks, all like the first."""
    head = learn(stream, "t0")
    first = head.entries[0]
    entries = tuple(dataclasses.replace(first, name=f"t{number}", arrival=number + 1) for number in range(count))
    version = dataclasses.replace(successor(head, "learn", "many", "0" * 32, {}), entries=entries, watermark=count)
    stream.history.append(version, head)


class Log:
    """The requests that the server got."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def __enter__(self) -> "Log":
        self._caplog.clear()
        self._caplog.set_level("INFO", logger="werkzeug")
        return self

    def __exit__(self, *_: object) -> None:
        lines = [record.getMessage() for record in self._caplog.records if record.name == "werkzeug"]
        self.requests = [line.split('"')[1].removeprefix("\x1b[33m").split()[:2] for line in lines]


def test_opening_the_head_and_listing_tasks(stream: Stream, caplog: pytest.LogCaptureFixture) -> None:
    counts = {}
    for count in (10, 1000):
        grown = Stream.create(f"{stream.url}-{count}", stream.config)
        grow(grown, count)
        with Log(caplog) as log:
            assert len(Stream.open(grown.url).head().entries) == count
        counts[count] = len(log.requests)
        assert not any("list-type" in path for _, path in log.requests)
    assert counts == {10: 5, 1000: 5}


def test_committing_an_arrival(stream: Stream, caplog: pytest.LogCaptureFixture) -> None:
    counts = {}
    for count in (10, 1000):
        grown = Stream.create(f"{stream.url}-{count}", stream.config)
        grow(grown, count)
        candidate = candidate_of(grown, grown.head(), "new", seed=7)
        opened = Stream.open(grown.url)
        with Log(caplog) as log:
            opened.commit_candidate(candidate)
        counts[count] = len(log.requests)
        assert [method for method, _ in log.requests].count("PUT") == 2
    assert counts == {10: 6, 1000: 6}


def test_a_manifest_does_not_grow_with_the_number_of_tasks(stream: Stream) -> None:
    sizes = {}
    for count in (20, 1000):
        grown = Stream.create(f"{stream.url}-{count}", stream.config)
        grow(grown, count)
        version = learn(grown, "new", 7)
        sizes[count] = grown.objects.stat(version_key(version.number)).size
    assert sizes[1000] < sizes[20] + 100
    assert sizes[1000] / RECENT < 1000
