"""Transfers side by side, and blobs that are what their name says."""

import threading
import uuid

import pytest

from apd.errors import CorruptObject, NotFound
from apd.store.blobs import PARALLEL, Blobs, in_parallel, key_of
from apd.store.connect import connect


def test_so_many_transfers_run_at_a_time_and_no_more() -> None:
    together, lock, running, most = threading.Barrier(PARALLEL), threading.Lock(), 0, 0

    def transfer(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(timeout=30)  # passes when PARALLEL are here at once
        with lock:
            running -= 1
        return -number

    assert in_parallel(transfer, range(3 * PARALLEL)) == [-number for number in range(3 * PARALLEL)]
    assert most == PARALLEL


def test_the_first_error_is_raised_when_what_is_under_way_has_ended() -> None:
    failed, begun, ended = threading.Event(), [], []

    def transfer(number: int) -> None:
        if number == 2:
            failed.set()
            raise NotFound("number 2")
        begun.append(number)
        failed.wait(timeout=30)
        ended.append(number)

    with pytest.raises(NotFound, match="number 2"):
        in_parallel(transfer, range(10_000))
    assert sorted(begun) == sorted(ended)
    assert len(begun) < 10_000 - 1


def test_a_blob_that_changed_is_named_and_healed_by_writing_it_again() -> None:
    objects = connect(f"memory://{uuid.uuid4().hex}")
    blobs = Blobs(objects)
    digest = blobs.write(b"as it was")
    objects.put(key_of(digest), b"as it is now")
    with pytest.raises(CorruptObject, match=f"{digest} has changed since it was written: its 12 bytes have SHA-256"):
        blobs.read(digest)
    assert blobs.write(b"as it was") == digest
    assert blobs.read(digest) == b"as it was"
