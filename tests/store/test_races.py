"""Many at once: committers, collections and those who go back to an old version."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from apd.errors import NotFound
from apd.store import Stream
from apd.store.upkeep import collect, rollback, verify
from tests.store.counts import count
from tests.store.processes import PROCESSES, commit
from tests.store.same import same_state
from tests.store.samples import CONFIG, candidate_of, learn

pytestmark = pytest.mark.faults


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


def age(stream: Stream) -> None:
    """Let everything in a folder be an hour old."""
    for path in Path(stream.url).rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 3600,) * 2)


@pytest.mark.parametrize("url", ["folder"], indirect=True)
def test_collections_race_commits_and_readers(stream: Stream) -> None:
    for seed in range(3):
        learn(stream, f"old-{seed}", seed)
    age(stream)
    stop, rounds, reads = threading.Event(), [], []

    def keep_collecting() -> None:
        while not stop.is_set():
            rounds.append(collect(Stream.open(stream.url), keep=1, grace=60))

    def keep_reading() -> None:
        while not stop.is_set():
            opened = Stream.open(stream.url)
            version = opened.head()
            reads.append([opened.load_task(version, entry.name) for entry in version.entries])

    def learn_some(name: str) -> None:
        for seed in range(3):
            learn(Stream.open(stream.url), f"{name}-{seed}", seed)

    with ThreadPoolExecutor(5) as pool:
        others = [pool.submit(work) for work in (keep_collecting, keep_collecting, keep_reading)]
        writers = [pool.submit(learn_some, name) for name in "ab"]
        for writer in writers:
            writer.result()
        stop.set()
        for other in others:
            other.result()
    assert any(plan.blobs for plan in rounds)
    assert len(stream.head().entries) == 9
    assert verify(stream).problems == ()
    count("collections beside commits and readers", len(rounds))
    count("versions read beside collections", len(reads))
    count("commits acknowledged, each found once", 6)


def test_a_rollback_beside_a_collection_gives_way_or_holds(tmp_path: Path) -> None:
    outcomes = []
    for attempt in range(8):
        stream = Stream.create(str(tmp_path / str(attempt)), CONFIG)
        for seed in range(4):
            learn(stream, f"t-{seed}", seed)
        state = stream.load_task(stream.version(2), "t-1")
        age(stream)
        with ThreadPoolExecutor(2) as pool:
            collection = pool.submit(collect, Stream.open(stream.url), keep=1, grace=60)
            time.sleep(0.004 * attempt)
            back = pool.submit(rollback, Stream.open(stream.url), 2)
            collection.result()
            error = back.exception()
        assert verify(stream).problems == ()
        if error is None:
            assert same_state(Stream.open(stream.url).load_task(back.result(), "t-1"), state)
        else:
            assert isinstance(error, NotFound)
            assert stream.head().number == 4
        outcomes.append(error is None)
    count("rollbacks beside a collection", len(outcomes))
