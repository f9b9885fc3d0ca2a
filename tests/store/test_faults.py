"""A network and servers that fail in the middle of a commit: it lands once, and nothing acknowledged is lost."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import pytest

from apd.data import validate_task
from apd.errors import Unreachable
from apd.store import Stream, Version
from apd.store.upkeep import verify
from tests.conftest import CephServer, S3Server
from tests.store.counts import count
from tests.store.samples import CONFIG, candidate_of, learn, write_task_folder
from tests.store.servers import IMPATIENT, ONCE, Fault, Faults, proxy, serving

pytestmark = pytest.mark.faults

FAULTS = [fault for fault in get_args(Fault) if not fault.startswith("act")]
CASES = [*(("ceph", fault) for fault in FAULTS), ("moto_server", "drop after")]
"""Servers differ in what they say of a name that is taken, which only a lost answer brings about."""
FAILED = "requests dropped before or after they acted, refused, slow, cut in half or never answered"
SIDE_BY_SIDE = 3
"""Chains of commits, each with a proxy and a stream of its own."""

BEFORE_THE_END = 5
"""Commits at the least, before the server is killed."""

CREATE = 3
"""Number of the request that creates the manifest: after the hint and the look for a newer version."""


class Place:
    """A new stream behind a proxy that can fail."""

    def __init__(
        self, server: S3Server, endpoint: str, faults: Faults, patience: Mapping[str, object] = IMPATIENT
    ) -> None:
        self.faults = faults
        self.options: dict[str, Any] = server.storage_options | {"endpoint_url": endpoint, "config_kwargs": patience}
        self.stream = Stream.create(f"{server.bucket()}/stream", CONFIG, storage_options=self.options)
        learn(self.stream, "first")

    def open(self) -> Stream:
        return Stream.open(self.stream.url, storage_options=self.options)


@pytest.fixture(params=["moto_server", "ceph"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    server, faults = request.getfixturevalue(request.param), Faults()
    with serving(proxy(server.endpoint, faults)) as endpoint:
        yield Place(server, endpoint, faults, ONCE)


def fail_each(server: S3Server, fault: Fault, requests: Iterator[int]) -> None:
    """Let these requests of a commit fail, one in each, until a commit has ended before."""
    faults = Faults()
    with serving(proxy(server.endpoint, faults)) as endpoint:
        place = Place(server, endpoint, faults)
        for number, failing in enumerate(requests, 2):
            candidate = candidate_of(place.stream, place.stream.head(), f"task-{failing}", failing)
            opened = place.open()
            faults.begin({failing: fault})
            version = opened.commit_candidate(candidate)
            injected = faults.done[fault]
            faults.begin({})
            assert (version.number, version.commit_id) == (number, candidate.commit_id)
            assert place.open().head() == version
            count(FAILED, injected)
            count("commits acknowledged, each found once")
            if not injected:
                break
        assert failing > 4
        assert verify(place.stream).problems == ()


@pytest.mark.parametrize(("server", "fault"), CASES)
def test_a_commit_lands_once_whichever_request_fails(request: pytest.FixtureRequest, server: str, fault: Fault) -> None:
    found = request.getfixturevalue(server)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:  # most of it is waiting before a request is sent again
        chains = (itertools.count(first, SIDE_BY_SIDE) for first in range(1, 1 + SIDE_BY_SIDE))
        list(pool.map(lambda requests: fail_each(found, fault, requests), chains))


def test_every_answer_lost_is_unreachable_and_trying_again_finds_the_commit(place: Place) -> None:
    candidate = candidate_of(place.stream, place.stream.head(), "second", 2)
    place.faults.begin(dict.fromkeys(range(CREATE, 500), "drop after"))
    with pytest.raises(Unreachable, match=r"versions/00000002\.json"):
        place.stream.commit_candidate(candidate)
    count(FAILED, place.faults.done["drop after"])
    place.faults.begin({})
    assert place.stream.commit_candidate(candidate).commit_id == candidate.commit_id
    assert place.stream.head().number == 2
    assert verify(place.stream).problems == ()


@pytest.mark.parametrize("fault", ["503", "drop before", "half an answer", "silence"])
def test_a_network_that_fails_while_data_are_read_makes_them_neither_bad_nor_damaged(
    moto_server: S3Server, tmp_path: Path, fault: Fault
) -> None:
    faults = Faults()
    with serving(proxy(moto_server.endpoint, faults)) as endpoint:
        stream = Place(moto_server, endpoint, faults, ONCE).stream
        folder = stream.inbox.submit(write_task_folder(tmp_path / "good", "good"))
        stream.inbox.accept(folder, validate_task(stream.inbox.folder(folder), CONFIG))
        faults.begin({})
        stream.load_data("good")
        last = len(faults.requests)
        faults.begin(dict.fromkeys(range(last, last + 100), fault))
        with pytest.raises(Unreachable, match=r"tasks/good/train\.parquet cannot be read"):
            stream.load_data("good")
        count(FAILED, faults.done[fault])


def as_soon_as_reachable(work: Callable[[], Version]) -> Version:
    """Try again, as a flow does."""
    while True:
        try:
            return work()
        except Unreachable:
            time.sleep(0.2)


@pytest.mark.parametrize("moment", ["act before", "act after"])
def test_a_server_killed_and_started_again_in_the_middle_of_a_commit(ceph: CephServer, moment: Fault) -> None:
    faults = Faults()

    def restart() -> None:
        ceph.kill()
        ceph.start()

    with serving(proxy(ceph.endpoint, faults)) as endpoint:
        place = Place(ceph, endpoint, faults)
        candidate = candidate_of(place.stream, place.stream.head(), "second", 2)
        faults.begin({CREATE: moment}, restart)
        version = as_soon_as_reachable(lambda: place.stream.commit_candidate(candidate))
        assert faults.done[moment] == 1
        assert (version.number, version.commit_id) == (2, candidate.commit_id)
        assert place.open().head() == version
        assert verify(place.stream).problems == ()
    count("servers killed -9 and started again in the middle of commits")
    count("commits acknowledged, each found once")


def test_a_server_killed_in_the_middle_loses_no_acknowledged_commit(ceph: CephServer) -> None:
    stream = Stream.create(f"{ceph.bucket()}/stream", CONFIG, storage_options=ceph.storage_options)
    acknowledged: list[int] = []

    def keep_learning() -> None:
        for seed in range(200):
            try:
                acknowledged.append(learn(stream, f"task-{seed}", seed).number)
            except Unreachable:
                return

    with ThreadPoolExecutor(1) as pool:
        learning = pool.submit(keep_learning)
        while len(acknowledged) < BEFORE_THE_END:
            time.sleep(0.01)
        ceph.kill()
        learning.result()
    ceph.start()
    opened = Stream.open(stream.url, storage_options=ceph.storage_options)
    assert opened.head().number in (len(acknowledged), len(acknowledged) + 1)
    assert verify(opened).problems == ()
    learn(opened, "afterwards", 1)
    count("servers killed -9 and started again in the middle of commits")
    count("commits acknowledged, each found once", BEFORE_THE_END)
