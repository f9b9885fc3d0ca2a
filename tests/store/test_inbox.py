"""The inbox and the names of arrivals, at the moments when something was interrupted."""

from pathlib import Path

import pytest

from apd.store import Stream
from apd.store.forget import Removal
from apd.store.inbox import SETTLED
from tests.store.samples import info_of, learn, write_task_folder

pytestmark = pytest.mark.parametrize("url", ["memory"], indirect=True)


def test_a_folder_that_was_dealt_with_is_not_looked_at_again_and_swept(stream: Stream, tmp_path: Path) -> None:
    folder = stream.inbox.submit(write_task_folder(tmp_path / "shoes", "shoes"))
    stream.objects.put(f"inbox/{folder}/{SETTLED}", b"{}")
    assert (stream.inbox.complete(), stream.inbox.incomplete()) == ([], [])
    stream.inbox.sweep()
    assert list(stream.objects.list("inbox/")) == []


def test_folders_of_one_name_with_other_files_are_kept_apart(stream: Stream, tmp_path: Path) -> None:
    small, large = (write_task_folder(tmp_path / str(rows) / "shoes", "shoes", rows) for rows in (8, 4000))
    assert [file.name for file in sorted(small.iterdir())] == [file.name for file in sorted(large.iterdir())]
    assert stream.inbox.submit(small) == stream.inbox.submit(small) == "shoes"
    other = stream.inbox.submit(large)
    assert other.startswith("shoes.")
    for folder, path in {"shoes": small, other: large}.items():
        with stream.inbox.folder(folder).open("train.parquet") as file:
            assert file.read() == (path / "train.parquet").read_bytes()


def test_a_removal_that_is_repeated_leaves_a_later_task_of_the_name_alone(stream: Stream) -> None:
    learn(stream, "a", 1)
    forgotten = stream.commit_forget("a")
    assert stream.inbox.register(info_of("a")) == 2
    stream.begin_attempt("a", forgotten.number)
    Removal(stream.objects, stream.inbox).remove(forgotten)
    assert [one.number for one in stream.inbox.waiting()] == [2]
    assert stream.begin_attempt("a", 0) == forgotten.number
