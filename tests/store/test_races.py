"""Many at once: committers, collections and those who go back to an old version."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from apd.errors import NotFound
from apd.store import Stream, Version, is_local
from apd.store.upkeep import collect, plan_collection, rollback, verify
from tests.store.counts import count
from tests.store.processes import PROCESSES, commit
from tests.store.same import same_state
from tests.store.samples import candidate_of, learn

pytestmark = pytest.mark.faults

HOUR = 3600.0
"""Grace of the collections here."""

COLLECTIONS, READS = 6, 12
"""By each that collects or reads, at the least."""

ROLLBACKS = 5

places = pytest.mark.parametrize("url", ["folder", "ceph"], indirect=True)


@pytest.mark.parametrize("url", ["folder"], indirect=True)
def test_eight_processes_commit_each_task_once(stream: Stream) -> None:
    candidates = [candidate_of(stream, stream.head(), f"task-{seed}", seed) for seed in range(8)]
    processes = [PROCESSES.Process(target=commit, args=(stream.url, item)) for item in candidates]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    head = stream.head()
    assert (head.number, head.watermark) == (8, 8)
    assert sorted(entry.name for entry in head.entries) == sorted(item.task for item in candidates)
    assert verify(stream).problems == ()
    count("commits acknowledged, each found once", 8)


def kind_of(stream: Stream) -> str:
    return "a folder" if is_local(stream.url) else "a real S3 server"


@contextmanager
def an_hour_later(stream: Stream) -> Iterator[None]:
    """All that is there is older than a collection's grace, and all that comes is not.

    Servers date their objects themselves, so it is the moment that collections ask for that is put forward and held.
    """
    newest = max(listed.modified for listed in stream.objects.list(""))
    while (moment := stream.objects.clock()) <= newest:  # which some count in whole seconds
        pass
    with pytest.MonkeyPatch.context() as held:
        held.setattr(type(stream.objects), "clock", lambda _: moment + HOUR)
        yield


def repeat(work: Callable[[], object], times: int, until: threading.Event) -> None:
    """So many times, and on until then."""
    while times > 0 or not until.is_set():
        work()
        times -= 1


@places
def test_collections_race_commits_and_readers(stream: Stream) -> None:
    for seed in range(3):
        learn(stream, f"old-{seed}", seed)
    plans = []

    def collect_again() -> None:
        plans.append(collect(Stream.open(stream.url), keep=1, grace=HOUR))

    def read() -> None:
        opened = Stream.open(stream.url)
        version = opened.head()
        assert [opened.load_task(version, entry.name).name for entry in version.entries]

    def learn_some(name: str) -> None:
        for seed in range(3):
            learn(Stream.open(stream.url), f"{name}-{seed}", seed)

    written = threading.Event()
    with an_hour_later(stream), ThreadPoolExecutor(5) as pool:
        others = [pool.submit(repeat, collect_again, COLLECTIONS, written) for _ in range(2)]
        others.append(pool.submit(repeat, read, READS, written))
        writers = [pool.submit(learn_some, name) for name in "ab"]
        try:
            for writer in writers:
                writer.result()
        finally:
            written.set()
        for other in others:
            other.result()
    assert any(plan.blobs for plan in plans)
    assert len(stream.head().entries) == 9
    assert verify(stream).problems == ()
    count(f"collections beside commits and readers of {kind_of(stream)}", 2 * COLLECTIONS)
    count(f"versions of {kind_of(stream)} read beside collections", READS)
    count("commits acknowledged, each found once", 6)


def roll_back_beside_a_collection(stream: Stream, number: int, delay: float) -> Version | BaseException:
    """The version that going back to `number` made, or why there is none."""
    with ThreadPoolExecutor(2) as pool:
        collection = pool.submit(collect, Stream.open(stream.url), keep=1, grace=HOUR)
        time.sleep(delay)
        back = pool.submit(rollback, Stream.open(stream.url), number)
        collection.result()
        return back.exception() or back.result()


@places
def test_a_rollback_beside_a_collection_gives_way_or_holds(stream: Stream) -> None:
    """Each begins a little later than the one before, from the collection's beginning to its end."""
    for attempt in range(ROLLBACKS):
        old = learn(stream, f"old-{attempt}", attempt)
        state = stream.load_task(old, f"old-{attempt}")
        head = learn(stream, f"new-{attempt}", attempt)
        with an_hour_later(stream):
            begun = time.monotonic()
            plan_collection(Stream.open(stream.url), keep=1, grace=HOUR)  # a collection makes two plans
            delay = 2 * (time.monotonic() - begun) * attempt / ROLLBACKS
            outcome = roll_back_beside_a_collection(stream, old.number, delay)
        assert verify(stream).problems == ()
        if isinstance(outcome, Version):
            assert same_state(Stream.open(stream.url).load_task(outcome, f"old-{attempt}"), state)
        else:
            assert isinstance(outcome, NotFound)
            assert stream.head().number == head.number
    count(f"rollbacks beside a collection of {kind_of(stream)}", ROLLBACKS)
