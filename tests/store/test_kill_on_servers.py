"""SIGKILL at every request of a commit to a real S3 server.

The committer is a process of its own whose requests pass a proxy; the proxy kills it right before its n-th request
arrives, for every n until it lives to the end. After each death the stream verifies and has every task that was
acknowledged, and the same work done again completes it: each commit is there once.
"""

import itertools
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Event
from typing import Any

import pytest

from apd.store import Candidate, Stream, history
from apd.store.upkeep import verify
from tests.conftest import CephServer
from tests.store.counts import count
from tests.store.processes import PROCESSES
from tests.store.samples import CONFIG, METRICS, info_of, learn, learned_on
from tests.store.servers import Faults, proxy, serving

pytestmark = pytest.mark.faults


def learn_once(stream: Stream, task: str) -> None:
    """As a flow does: commit what was trained already, train it otherwise."""
    head = stream.head()
    if not head.has(task):
        stream.commit_candidate(stream.load_candidate(task) or train(stream, task))


def train(stream: Stream, task: str) -> Candidate:
    head = stream.head()
    learned = learned_on(stream.arrival(head), task, len(head.entries))
    return stream.write_candidate(learned, base=head, info=info_of(task), metrics=METRICS)


def work(url: str, options: Mapping[str, Any], task: str, ready: Event, go: Event) -> None:
    """In a process of its own; what comes before `go` is not counted."""
    stream = Stream.open(url, storage_options=options)
    history._proven.add(url)  # by the test that made it
    ready.set()
    go.wait()
    learn_once(stream, task)


def survives(stream: Stream, endpoint: str, faults: Faults, task: str, step: int) -> bool:
    """Whether the work ends before its `step`-th request."""
    ready, go = PROCESSES.Event(), PROCESSES.Event()
    options = {**(stream.storage_options or {}), "endpoint_url": endpoint}
    process = PROCESSES.Process(target=work, args=(stream.url, options, task, ready, go))
    process.start()
    assert ready.wait(60)
    faults.begin({step: "act before"}, process.kill)
    go.set()
    process.join()
    faults.begin({})
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == 0


def begin(ceph: CephServer) -> Stream:
    stream = Stream.create(f"{ceph.bucket()}/stream", CONFIG, storage_options=ceph.storage_options)
    learn(stream, "first")
    return stream


def kill_at(ceph: CephServer, steps: Iterator[int]) -> int:
    """Kill committers before these requests until one lives; returns how many were killed."""
    faults = Faults()
    with serving(proxy(ceph.endpoint, faults)) as endpoint:
        for killed, step in enumerate(steps):
            if killed % 6 == 0:  # a short stream verifies quickly
                stream, expected = begin(ceph), ["first"]
            task = f"task-{step}"
            expected.append(task)
            stream.inbox.register(info_of(task))
            lived = survives(stream, endpoint, faults, task, step)
            assert verify(stream).problems == ()
            learn_once(stream, task)
            head = Stream.open(stream.url, storage_options=stream.storage_options).head()
            assert [entry.name for entry in head.entries] == expected
            assert head.number == len(expected)
            count("commits acknowledged, each found once")
            if lived:
                break
    assert verify(stream).problems == ()
    return killed


def test_killed_at_every_request_of_a_commit(ceph: CephServer) -> None:
    with ThreadPoolExecutor(2) as pool:  # most of it is waiting for processes to start
        killed = sum(pool.map(lambda first: kill_at(ceph, itertools.count(first, 2)), (1, 2)))
    assert killed > 10
    count("processes killed, one before each request of a commit to a real S3 server", killed)
