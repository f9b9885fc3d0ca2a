"""A thousand tasks cost a reader and a committer what ten do, in requests that a server really got."""

import dataclasses
from collections.abc import Iterator

import pytest

from apd.store import Stream
from apd.store.commits import successor
from apd.store.history import version_key
from apd.store.manifest import RECENT
from tests.conftest import S3Server
from tests.store.counts import count
from tests.store.samples import CONFIG, candidate_of, learn
from tests.store.servers import Faults, proxy, serving

pytestmark = pytest.mark.faults


class Place:
    """A bucket behind a proxy that keeps what was asked."""

    def __init__(self, server: S3Server, endpoint: str, traffic: Faults) -> None:
        self._bucket = server.bucket()
        self._options = server.storage_options | {"endpoint_url": endpoint}
        self.traffic = traffic

    def create(self, count: int) -> Stream:
        """A stream with `count` tasks, all like the first."""
        stream = Stream.create(f"{self._bucket}/{count}", CONFIG, storage_options=self._options)
        head = learn(stream, "t0")
        first = head.entries[0]
        entries = tuple(dataclasses.replace(first, name=f"t{number}", arrival=number + 1) for number in range(count))
        version = dataclasses.replace(successor(head, "learn", "many", "0" * 32, {}), entries=entries, watermark=count)
        stream.history.append(version, head)
        return stream

    def reopen(self, stream: Stream) -> Stream:
        return Stream.open(stream.url, storage_options=self._options)


def count_requests(what: str, number: int) -> None:
    count(f"requests for {what}, with 10 tasks as with 1,000", number)


@pytest.fixture
def place(moto_server: S3Server) -> Iterator[Place]:
    traffic = Faults()
    with serving(proxy(moto_server.endpoint, traffic)) as endpoint:
        yield Place(moto_server, endpoint, traffic)


def test_opening_the_head_and_listing_tasks(place: Place) -> None:
    counts = {}
    for tasks in (10, 1000):
        stream = place.create(tasks)
        place.traffic.begin({})
        assert len(place.reopen(stream).head().entries) == tasks
        counts[tasks] = len(place.traffic.requests)
        assert not any("list-type" in request for request in place.traffic.requests)
    assert counts == {10: 5, 1000: 5}
    count_requests("opening the head and listing its tasks", counts[1000])


def test_committing_an_arrival(place: Place) -> None:
    counts = {}
    for tasks in (10, 1000):
        stream = place.create(tasks)
        candidate = candidate_of(stream, stream.head(), "new", seed=7)
        opened = place.reopen(stream)
        place.traffic.begin({})
        opened.commit_candidate(candidate)
        counts[tasks] = len(place.traffic.requests)
        assert sum(request.startswith("PUT") for request in place.traffic.requests) == 2
    assert counts == {10: 8, 1000: 8}
    count_requests("committing an arrival", counts[1000])


def test_a_manifest_does_not_grow_with_the_number_of_tasks(place: Place) -> None:
    sizes = {}
    for tasks in (20, 1000):
        stream = place.create(tasks)
        version = learn(stream, "new", 7)
        sizes[tasks] = stream.objects.stat(version_key(version.number)).size
    assert sizes[1000] < sizes[20] + 100
    assert sizes[1000] / RECENT < 1000
