"""Many at once, and places that cannot do what they are asked."""

import os
import signal
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest

from apd.errors import NotFound, Unreachable, UnsafeStore
from apd.store import Stream
from apd.store.connect import connect
from apd.store.upkeep import collect, rollback, verify
from tests.conftest import CephServer, S3Server
from tests.store.processes import PROCESSES, commit, learn_with_a_full_disk
from tests.store.same import same_state
from tests.store.samples import CONFIG, candidate_of, learn
from tests.store.servers import Faults, look_alike, proxy, serving


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


def age(stream: Stream) -> None:
    """Let everything in a folder be an hour old."""
    for path in Path(stream.url).rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 3600,) * 2)


@pytest.mark.parametrize("url", ["folder"], indirect=True)
def test_collections_race_commits(stream: Stream) -> None:
    for seed in range(3):
        learn(stream, f"old-{seed}", seed)
    age(stream)
    stop, rounds = threading.Event(), []

    def keep_collecting() -> None:
        while not stop.is_set():
            rounds.append(collect(Stream.open(stream.url), keep=1, grace=60))

    def learn_some(name: str) -> None:
        for seed in range(3):
            learn(Stream.open(stream.url), f"{name}-{seed}", seed)

    with ThreadPoolExecutor(4) as pool:
        collections = [pool.submit(keep_collecting) for _ in range(2)]
        writers = [pool.submit(learn_some, name) for name in "ab"]
        for writer in writers:
            writer.result()
        stop.set()
        for collection in collections:
            collection.result()
    assert any(plan.blobs for plan in rounds)
    assert len(stream.head().entries) == 9
    assert verify(stream).problems == ()


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
    assert len(outcomes) == 8


def test_a_full_disk_is_told_and_leaves_the_stream_whole(tmp_path: Path) -> None:
    stream = Stream.create(str(tmp_path / "stream"), CONFIG)
    learn(stream, "a", 1)
    process = PROCESSES.Process(target=learn_with_a_full_disk, args=(stream.url,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert verify(stream).problems == ()
    assert learn(stream, "b", 2).number == 2


@pytest.mark.parametrize("place", ["/proc/apd", "{folder}/file/stream"])
def test_a_place_that_cannot_be_written_is_unreachable(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Unreachable, match="cannot be made"):
        Stream.create(place.format(folder=tmp_path), CONFIG)


@pytest.mark.parametrize("seconds", [None, 0.2])
def test_a_server_without_put_if_absent_is_refused(seconds: float | None) -> None:
    with serving(look_alike(seconds)) as endpoint:
        options = {"endpoint_url": endpoint, "key": "k", "secret": "s"}
        with pytest.raises(UnsafeStore, match=r"does not honour put-if-absent: [2-8] of 8 writers"):
            Stream.create("s3://bucket/stream", CONFIG, storage_options=options)


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with serving(look_alike(None)) as endpoint:
        pass
    with pytest.raises(Unreachable, match="Could not connect"):
        Stream.open("s3://bucket/stream", storage_options={"endpoint_url": endpoint, "key": "k", "secret": "s"})


def test_a_bucket_that_is_not_there_is_named(moto_server: S3Server) -> None:
    with pytest.raises(Unreachable, match=r"s3://no-such-bucket/stream/.*bucket does not exist"):
        Stream.create("s3://no-such-bucket/stream", CONFIG, storage_options=moto_server.storage_options)
    with pytest.raises(NotFound, match=r"apd init.*bucket does not exist"):
        Stream.open("s3://no-such-bucket/stream", storage_options=moto_server.storage_options)


def test_wrong_credentials_are_named(ceph: CephServer) -> None:
    url = f"{ceph.bucket()}/stream"
    for wrong in ({"key": "nobody"}, {"secret": "wrong"}):
        with pytest.raises(Unreachable, match="check the AWS credentials"):
            Stream.create(url, CONFIG, storage_options=ceph.storage_options | wrong)


def test_storage_options_reach_the_server_without_any_environment(moto_server: S3Server) -> None:
    stream = Stream.create(f"{moto_server.bucket()}/a/b", CONFIG, storage_options=moto_server.storage_options)
    assert (stream.name, learn(stream, "a").number) == ("b", 1)


@pytest.mark.parametrize("fault", ["503", "drop before", "drop after", "slow"])
def test_a_commit_lands_once_whichever_request_fails(moto_server: S3Server, fault: str) -> None:
    faults = Faults()
    with serving(proxy(moto_server.endpoint, faults)) as endpoint:
        options = moto_server.storage_options | {"endpoint_url": endpoint}
        stream = Stream.create(f"{moto_server.bucket()}/stream", CONFIG, storage_options=options)
        learn(stream, "first")
        for failing in range(1, 6):
            candidate = candidate_of(stream, stream.head(), f"task-{failing}", failing)
            opened = Stream.open(stream.url, storage_options=options)
            faults.begin({failing: fault})
            version = opened.commit_candidate(candidate)
            assert faults.done[fault] == 1
            faults.begin({})
            assert (version.number, version.commit_id) == (failing + 1, candidate.commit_id)
            assert stream.head() == version
        assert verify(stream).problems == ()


def test_every_answer_lost_is_unreachable_and_trying_again_finds_the_commit(moto_server: S3Server) -> None:
    faults = Faults()
    with serving(proxy(moto_server.endpoint, faults)) as endpoint:
        options = moto_server.storage_options | {"endpoint_url": endpoint}
        stream = Stream.create(f"{moto_server.bucket()}/stream", CONFIG, storage_options=options)
        learn(stream, "first")
        candidate = candidate_of(stream, stream.head(), "second", 2)
        create = 3  # after the hint and the look for a newer version
        faults.begin(dict.fromkeys(range(create, 500), "drop after"))
        with pytest.raises(Unreachable, match=r"versions/00000002\.json"):
            stream.commit_candidate(candidate)
        faults.begin({})
        assert stream.commit_candidate(candidate).commit_id == candidate.commit_id
        assert stream.head().number == 2


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
        while len(acknowledged) < 5:
            time.sleep(0.01)
        ceph.kill()
        learning.result()
    ceph.start()
    opened = Stream.open(stream.url, storage_options=ceph.storage_options)
    assert opened.head().number in (len(acknowledged), len(acknowledged) + 1)
    assert verify(opened).problems == ()
    learn(opened, "afterwards", 1)


def test_a_stream_goes_on_in_a_forked_process(moto_server: S3Server) -> None:
    stream = Stream.create(f"{moto_server.bucket()}/stream", CONFIG, storage_options=moto_server.storage_options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        failed = True
        signal.alarm(60)
        try:
            failed = learn(stream, "from-the-child").number != 1
        finally:
            os._exit(failed)
    assert os.waitpid(child, 0)[1] == 0
    assert stream.head().number == 1


def test_old_uploads_in_parts_are_swept(ceph: CephServer) -> None:
    bucket = ceph.bucket()
    objects = connect(f"{bucket}/stream", ceph.storage_options)
    client = boto3.client(
        "s3",
        endpoint_url=ceph.endpoint,
        aws_access_key_id=ceph.key,
        aws_secret_access_key=ceph.secret,
        region_name="us-east-1",
    )
    for key in ("stream/x", "other/x"):
        client.create_multipart_upload(Bucket=bucket.removeprefix("s3://"), Key=key)
    client.close()
    assert objects.sweep(before=time.time() - 60) == 0
    assert objects.sweep(before=time.time() + 60) == 1
    assert objects.sweep(before=time.time() + 60) == 0


def test_half_written_files_are_swept(tmp_path: Path) -> None:
    objects = connect(str(tmp_path))
    objects.put("x", b"1")
    (tmp_path / ".staging" / "left").write_bytes(b"half")
    assert [item.key for item in objects.list("")] == ["x"]
    assert objects.sweep(before=time.time() - 60) == 0
    assert objects.sweep(before=time.time() + 60) == 1
