"""Places that cannot do what they are asked: full, read-only, out of reach, or not what they seem."""

import os
import re
import signal
import time
import warnings
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import botocore.auth
import pytest

from apd.errors import ConfigError, NotFound, StoreError, Unreachable, UnsafeStore
from apd.store import Stream, Version, stream_name
from apd.store.connect import connect
from apd.store.manifest import now
from apd.store.upkeep import collect, verify
from tests.conftest import CephServer, S3Server
from tests.store.counts import count
from tests.store.processes import PROCESSES, learn_until_it_fails, learn_with_a_full_disk, run_mounted
from tests.store.same import same_state
from tests.store.samples import CONFIG, learn
from tests.store.servers import ONCE, Faults, look_alike, proxy, serving
from tests.store.tokens import session

pytestmark = pytest.mark.faults


def test_a_full_disk_is_told_and_leaves_the_stream_whole(tmp_path: Path) -> None:
    stream = Stream.create(str(tmp_path / "stream"), CONFIG)
    learn(stream, "a", 1)
    process = PROCESSES.Process(target=learn_with_a_full_disk, args=(stream.url,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert verify(stream).problems == ()
    assert learn(stream, "b", 2).number == 2


def test_a_disk_that_fills_up_in_a_commit_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    run_mounted(f"mount -t tmpfs -o size=600k none {tmp_path}", "fill_a_disk", str(tmp_path))
    count("disks filled up")


def test_a_folder_that_became_read_only_can_be_read_and_says_so(tmp_path: Path) -> None:
    stream = Stream.create(str(tmp_path / "stream"), CONFIG)
    learn(stream, "a", 1)
    mount = f"mount --bind {tmp_path} {tmp_path} && mount -o remount,bind,ro {tmp_path}"
    run_mounted(mount, "use_what_cannot_be_written", stream.url)
    count("stores made read-only")
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


def test_a_commit_is_refused_where_a_stream_came_to_be_on_such_a_server() -> None:
    with serving(look_alike(None)) as endpoint:
        options = {"endpoint_url": endpoint, "key": "k", "secret": "s"}
        stream = Stream(connect("s3://bucket/moved-here", options), CONFIG, options)
        stream.history.create_first(Version(0, None, "create", "elsewhere", "0" * 32, now()))
        with pytest.raises(UnsafeStore, match="does not honour put-if-absent"):
            learn(stream, "a")
        assert stream.head().number == 0


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with serving(look_alike(None)) as endpoint:
        pass
    for wrong, what in ((endpoint, "Could not connect"), (endpoint.removeprefix("http://"), "Invalid endpoint")):
        options = {"endpoint_url": wrong, "key": "k", "secret": "s", "config_kwargs": ONCE}
        with pytest.raises(Unreachable, match=f"{what}.*check that the server runs and that AWS_ENDPOINT_URL"):
            Stream.open("s3://bucket/stream", storage_options=options)


@pytest.mark.parametrize("url", ["s3://", "s3:///", "s3:/bucket/stream", "gs://bucket/stream"])
def test_a_url_that_names_no_place_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=f"'{url}' is no place for a stream; give a folder or s3://bucket/prefix"):
        Stream.create(url, CONFIG)


def test_a_bucket_that_is_not_there_is_named(moto_server: S3Server) -> None:
    with pytest.raises(Unreachable, match=r"s3://no-such-bucket/stream/.*not exist; make the bucket first"):
        Stream.create("s3://no-such-bucket/stream", CONFIG, storage_options=moto_server.storage_options)
    with pytest.raises(NotFound, match=r"apd init.*not exist; make the bucket first"):
        Stream.open("s3://no-such-bucket/stream", storage_options=moto_server.storage_options)


def test_wrong_credentials_are_named(ceph: CephServer) -> None:
    url = f"{ceph.bucket()}/stream"
    for wrong in ({"key": "nobody"}, {"secret": "wrong"}):
        with pytest.raises(Unreachable, match="check the AWS credentials"):
            Stream.create(url, CONFIG, storage_options=ceph.storage_options | wrong)


def test_a_session_token_that_expires_in_the_middle_of_a_stream(ceph: CephServer) -> None:
    stream = Stream.create(f"{ceph.bucket()}/stream", CONFIG, storage_options=ceph.storage_options)
    acknowledged, seconds = 0, 2
    while not acknowledged:  # a busy machine needs longer for its first commit
        seconds *= 2
        opened = Stream.open(stream.url, storage_options=session(ceph, seconds))
        acknowledged, error = learn_until_it_fails(opened)
    # a HEAD request, which may be the first to fail, is answered without the error's code
    assert re.search(r"(answered 403 AccessDenied|Forbidden); check the AWS credentials", error)
    assert "a session token may have expired" in error
    renewed = Stream.open(stream.url, storage_options=session(ceph, seconds=900))
    assert renewed.head().number in (acknowledged, acknowledged + 1)
    names = [entry.name for entry in renewed.head().entries]
    assert names[:acknowledged] == [f"task-{number}" for number in range(acknowledged)]
    assert verify(renewed).problems == ()
    learn(renewed, "afterwards", 1)
    count("session tokens that expired in the middle of a stream")
    count("commits acknowledged, each found once", 2)


def set_clocks(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let this process live so many seconds in the future."""
    now, date = time.time, botocore.auth.get_current_datetime
    monkeypatch.setattr(time, "time", lambda: now() + seconds)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *args: date(*args) + timedelta(seconds=seconds))


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_clock_that_the_server_does_not_believe_is_named(
    ceph: CephServer, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    stream = Stream.create(f"{ceph.bucket()}/stream", CONFIG, storage_options=ceph.storage_options)
    learn(stream, "a", 1)
    with monkeypatch.context() as wrong:
        set_clocks(wrong, 3600 * hours)
        with pytest.raises(Unreachable, match="this machine's clock and the server's differ too much"):
            learn(stream, "b", 2)
    assert learn(stream, "b", 2).number == 2
    assert verify(stream).problems == ()
    count("clocks set wrong")


@pytest.mark.parametrize("url", ["folder", "ceph"], indirect=True)
def test_a_collector_whose_clock_is_ahead_removes_nothing_too_early(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(4):
        learn(stream, f"t-{seed}", seed)
    states = {name: stream.load_task(stream.version(2), name) for name in ("t-0", "t-1")}
    with monkeypatch.context() as wrong:
        set_clocks(wrong, 600)
        plan = collect(Stream.open(stream.url), keep=1, grace=300)
    assert (plan.collected, plan.blobs) == ((), ())
    assert all(same_state(Stream.open(stream.url).load_task(stream.version(2), name), states[name]) for name in states)
    assert verify(stream).problems == ()
    count("clocks set wrong")


def test_storage_options_reach_the_server_without_any_environment(moto_server: S3Server) -> None:
    stream = Stream.create(f"{moto_server.bucket()}/a/b", CONFIG, storage_options=moto_server.storage_options)
    assert learn(stream, "a").number == 1


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("s3://shoes/stream", "shoes-stream"),
        ("s3://bags/stream/", "bags-stream"),
        ("s3://shoes/summer//stream", "shoes-summer-stream"),
        ("s3://shoes", "shoes"),
        ("/data/shoes/stream", "stream"),
        ("file:///data/shoes", "shoes"),
        ("memory://stream", "stream"),
    ],
)
def test_streams_in_buckets_are_called_by_their_whole_path(url: str, name: str) -> None:
    assert stream_name(url) == name


def test_a_create_that_would_go_in_parts_is_refused(moto_server: S3Server) -> None:
    objects = connect(f"{moto_server.bucket()}/stream", moto_server.storage_options)
    with pytest.raises(StoreError, match="has 33,554,433 bytes, more than the 33,554,432 that"):
        objects.create("versions/00000001.json", bytes(2**25 + 1))
    assert not objects.exists("versions/00000001.json")


def test_a_folder_that_comes_to_be_during_a_listing_is_no_object(moto_server: S3Server) -> None:
    url, faults = f"{moto_server.bucket()}/stream", Faults()
    with serving(proxy(moto_server.endpoint, faults)) as endpoint:
        objects = connect(url, moto_server.storage_options | {"endpoint_url": endpoint})
        others = connect(url, moto_server.storage_options)
        assert list(objects.list("attempts/")) == []
        asked = len(faults.requests)
        faults.begin({asked: "act before"}, lambda: others.put("attempts/a/base.json", b"1"))
        assert list(objects.list("attempts/")) == []
        assert faults.done["act before"] == 1
    assert [item.key for item in objects.list("attempts/")] == ["attempts/a/base.json"]


def test_folders_made_in_a_console_are_no_objects(moto_server: S3Server) -> None:
    bucket = moto_server.bucket()
    objects = connect(f"{bucket}/stream", moto_server.storage_options)
    objects.put("inbox/shoes/train.parquet", b"1")
    with closing(moto_server.client("s3")) as client:
        for key in ("stream/", "stream/inbox/", "stream/inbox/shoes/", "stream/inbox/hats/", "stream/tasks"):
            client.put_object(Bucket=bucket.removeprefix("s3://"), Key=key, Body=b"")
    assert [item.key for item in objects.list("")] == ["inbox/shoes/train.parquet", "tasks"]
    assert [item.key for item in objects.list("inbox/")] == ["inbox/shoes/train.parquet"]
    assert list(objects.list("inbox/hats/")) == list(objects.list("tasks/")) == []


def test_half_written_files_are_swept(tmp_path: Path) -> None:
    objects = connect(str(tmp_path))
    objects.put("x", b"1")
    (tmp_path / ".staging" / "left").write_bytes(b"half")
    assert [item.key for item in objects.list("")] == ["x"]
    assert objects.sweep(before=time.time() - 60) == 0
    assert objects.sweep(before=time.time() + 60) == 1


def test_old_uploads_in_parts_are_swept(ceph: CephServer) -> None:
    bucket = ceph.bucket()
    objects = connect(f"{bucket}/stream", ceph.storage_options)
    with closing(ceph.client("s3")) as client:
        for key in ("stream/x", "other/x"):
            client.create_multipart_upload(Bucket=bucket.removeprefix("s3://"), Key=key)
    assert objects.sweep(before=time.time() - 60) == 0
    assert objects.sweep(before=time.time() + 60) == 1
    assert objects.sweep(before=time.time() + 60) == 0


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
