"""The inbox and the names of arrivals, at the moments when something was interrupted."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from apd.data import LocalFolder, validate_task
from apd.errors import DataError, NotFound, StoreError, TaskRejected, UnknownTask
from apd.store import Stream
from apd.store.forget import Removal
from apd.store.inbox import SETTLED
from apd.store.submission import METADATA
from apd.store.transfer import copy_stream
from apd.store.upkeep import rollback
from tests.store.samples import info_of, learn, learned_on, write_task_folder

in_memory = pytest.mark.parametrize("url", ["memory"], indirect=True)
in_a_folder = pytest.mark.parametrize("url", ["folder"], indirect=True)


def keys(stream: Stream, area: str) -> list[str]:
    return [listed.key for listed in stream.objects.list(area)]


def accept_all(stream: Stream) -> list[str]:
    """What an ingest does with folders that are tasks; the names of those that it took in."""
    folders = stream.inbox.complete()
    for folder in folders:
        stream.inbox.accept(folder, validate_task(stream.inbox.folder(folder), stream.config))
    return folders


@in_memory
def test_a_folder_that_was_dealt_with_is_not_looked_at_again_and_swept(stream: Stream, tmp_path: Path) -> None:
    folder = stream.inbox.submit(write_task_folder(tmp_path / "shoes", "shoes"))
    stream.objects.put(f"inbox/{folder}/{SETTLED}", b"{}")
    assert (stream.inbox.complete(), stream.inbox.incomplete()) == ([], [])
    stream.inbox.sweep()
    assert list(stream.objects.list("inbox/")) == []


@in_memory
def test_folders_of_one_name_with_other_files_are_kept_apart(stream: Stream, tmp_path: Path) -> None:
    small, large = (write_task_folder(tmp_path / str(rows) / "shoes", "shoes", rows) for rows in (8, 4000))
    assert [file.name for file in sorted(small.iterdir())] == [file.name for file in sorted(large.iterdir())]
    assert stream.inbox.submit(small) == stream.inbox.submit(small) == "shoes"
    other = stream.inbox.submit(large)
    assert other.startswith("shoes.")
    for folder, path in {"shoes": small, other: large}.items():
        with stream.inbox.folder(folder).open("train.parquet") as file:
            assert file.read() == (path / "train.parquet").read_bytes()


@in_memory
def test_a_removal_that_is_repeated_leaves_a_later_task_of_the_name_alone(stream: Stream) -> None:
    learn(stream, "a", 1)
    forgotten = stream.commit_forget("a")
    assert stream.inbox.register(info_of("a")) == 2
    stream.begin_attempt("a", forgotten.number)
    Removal(stream.objects, stream.inbox).remove(forgotten)
    assert [one.number for one in stream.inbox.waiting()] == [2]
    assert stream.begin_attempt("a", 0) == forgotten.number


@in_memory
def test_a_task_that_a_rollback_took_out_comes_again_once_it_is_forgotten(stream: Stream, tmp_path: Path) -> None:
    learn(stream, "a", 1)
    shoes = write_task_folder(tmp_path / "shoes", "shoes")
    stream.inbox.submit(shoes)
    accept_all(stream)
    learned = learned_on(stream.arrival(stream.head()), "shoes", 2)
    info = stream.task_info("shoes")
    stream.commit_candidate(stream.write_candidate(learned, base=stream.head(), info=info, metrics={}))
    rollback(stream, 1)
    assert [one.task for one in stream.inbox.undone()] == ["shoes"]
    stream.inbox.submit(shoes)
    with pytest.raises(
        TaskRejected, match=r"a rollback took the task 'shoes' out; forget it first \(`apd forget shoes`"
    ):
        accept_all(stream)
    with pytest.raises(TaskRejected, match="a rollback took"):
        stream.inbox.check_name(LocalFolder(shoes), info)
    stream.commit_forget("shoes")
    assert accept_all(stream) == ["shoes"]
    assert [(one.task, one.number) for one in stream.inbox.waiting()] == [("shoes", 3)]
    assert stream.inbox.undone() == []


@in_memory
def test_forgetting_what_was_never_accepted_says_where_it_lies(stream: Stream, tmp_path: Path) -> None:
    learn(stream, "a", 1)
    stream.inbox.submit(write_task_folder(tmp_path / "shoes", "shoes"))
    with pytest.raises(UnknownTask, match=r"no task 'shoes' was accepted; `apd withdraw shoes` removes .*/inbox/shoes"):
        stream.commit_forget("shoes")
    stream.inbox.reject("shoes", "too small")
    with pytest.raises(UnknownTask, match=r"`apd withdraw shoes` removes .*/rejected/shoes"):
        stream.commit_forget("shoes")


def test_what_was_submitted_or_rejected_is_withdrawn_with_all_its_files(stream: Stream, tmp_path: Path) -> None:
    folder, other = (write_task_folder(tmp_path / name, name) for name in ("shoes", "boots"))
    stream.inbox.submit(folder)
    stream.inbox.reject("shoes", "upside down")
    stream.inbox.submit(folder)
    stream.inbox.submit(other)
    stream.objects.put("inbox/half/train.parquet", b"the rest never came")
    assert stream.inbox.withdraw("shoes") == [stream.objects.where(f"{area}/shoes") for area in ("inbox", "rejected")]
    assert stream.inbox.withdraw("half") == [stream.objects.where("inbox/half")]
    assert (stream.inbox.complete(), stream.inbox.incomplete(), stream.inbox.rejected()) == (["boots"], [], {})
    assert keys(stream, "rejected/") == []
    assert {key.split("/")[1] for key in keys(stream, "inbox/")} == {"boots"}


@in_memory
@pytest.mark.parametrize("name", ["shoes", "..", "shoes/..", "boots/train.parquet", "", "a\\b"])
def test_what_is_not_there_is_not_withdrawn(stream: Stream, tmp_path: Path, name: str) -> None:
    stream.inbox.submit(write_task_folder(tmp_path / "boots", "boots"))
    before = keys(stream, "")
    with pytest.raises(NotFound, match="`apd tasks` lists those there are"):
        stream.inbox.withdraw(name)
    assert keys(stream, "") == before


@in_memory
def test_a_task_whose_acceptance_broke_off_is_forgotten_then_withdrawn(stream: Stream, tmp_path: Path) -> None:
    learn(stream, "a", 1)
    stream.inbox.submit(write_task_folder(tmp_path / "shoes", "shoes"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(stream.inbox), "_append", died)
        with pytest.raises(InterruptedError):
            accept_all(stream)
    with pytest.raises(StoreError, match=r"being accepted.*`apd forget shoes` takes it out"):
        stream.inbox.withdraw("shoes")
    assert stream.inbox.complete() == ["shoes"]
    assert not stream.is_forgotten("shoes")
    version = stream.commit_forget("shoes")
    assert (version.watermark, version.details["arrival"]) == (2, 2)
    assert stream.is_forgotten("shoes")
    stream.inbox.withdraw("shoes")
    assert keys(stream, "tasks/shoes/") == keys(stream, "inbox/") == keys(stream, "names/shoes") == []
    stream.inbox.submit(write_task_folder(tmp_path / "other" / "shoes", "shoes", rows=80))
    accept_all(stream)
    assert [(one.task, one.number) for one in stream.inbox.waiting()] == [("shoes", 3)]


def died(*_: object) -> None:
    raise InterruptedError


@in_memory
@pytest.mark.parametrize("name", ["a\\b", os.fsdecode(b"caf\xe9")])
def test_a_file_that_no_object_could_be_named_after_is_refused_before_anything_is_sent(
    stream: Stream, tmp_path: Path, name: str
) -> None:
    shoes = write_task_folder(tmp_path / "shoes", "shoes")
    (shoes / name).write_bytes(b"notes")
    with pytest.raises(DataError, match="cannot be the name of an object; rename it"):
        stream.inbox.submit(shoes)
    assert keys(stream, "inbox/") == []


@in_memory
def test_a_waiting_folder_is_not_overwritten_by_another_of_the_same_name_and_sizes(
    stream: Stream, tmp_path: Path
) -> None:
    first, second = (write_task_folder(tmp_path / place / "data", name) for place, name in (("a", "one"), ("b", "two")))
    data = (second / "train.parquet").read_bytes()
    assert [file.stat().st_size for file in sorted(first.iterdir())] == [
        file.stat().st_size for file in sorted(second.iterdir())
    ]
    assert stream.inbox.submit(first) == "data"
    other = stream.inbox.submit(second)
    assert other.startswith("data.")
    assert sorted(validate_task(stream.inbox.folder(folder), stream.config).name for folder in ("data", other)) == [
        "one",
        "two",
    ]
    (first / "train.parquet").write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    assert stream.inbox.submit(first) not in ("data", other)  # the same description of other data


@in_memory
def test_an_interrupted_submission_goes_on_in_its_place(stream: Stream, tmp_path: Path) -> None:
    folder = write_task_folder(tmp_path / "shoes", "shoes")
    stream.objects.upload(folder / "train.parquet", "inbox/shoes/train.parquet")
    assert stream.inbox.submit(folder) == "shoes"
    assert stream.inbox.complete() == ["shoes"]


@in_a_folder
def test_folders_of_one_name_that_come_at_the_same_moment_are_kept_apart(stream: Stream, tmp_path: Path) -> None:
    folders = [write_task_folder(tmp_path / str(number) / "data", f"task-{number}", 8 + number) for number in range(6)]
    start = Barrier(len(folders))

    def submit(folder: Path) -> str:
        start.wait()
        return stream.inbox.submit(folder)

    with ThreadPoolExecutor(len(folders)) as submitters:
        places = list(submitters.map(submit, folders))
    assert len(set(places)) == len(folders)
    assert "data" in places
    for place, folder in zip(places, folders, strict=True):
        for name in (METADATA, "train.parquet"):
            assert stream.objects.read(f"inbox/{place}/{name}") == (folder / name).read_bytes()
    assert len(accept_all(stream)) == len(folders)
    assert keys(stream, "inbox/") == []


@in_memory
def test_the_same_files_from_elsewhere_wait_once_they_are_complete(stream: Stream, tmp_path: Path) -> None:
    here, elsewhere = (write_task_folder(tmp_path / place / "shoes", "shoes") for place in ("here", "elsewhere"))
    assert stream.inbox.submit(here) == "shoes"
    assert stream.inbox.submit(elsewhere) == "shoes"
    stream.objects.delete(f"inbox/shoes/{METADATA}")
    assert stream.inbox.submit(elsewhere).startswith("shoes.")  # whoever came first may still be writing
    assert stream.inbox.submit(here) == "shoes"


@in_memory
def test_the_working_folder_is_submitted_by_its_name(
    stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_task_folder(tmp_path / "shoes", "shoes"))
    assert stream.inbox.submit(Path(".")) == "shoes"
    with pytest.raises(DataError, match="cannot be the name of an object; rename it"):
        stream.inbox.submit(write_task_folder(tmp_path / "we\\ird", "shoes"))


@in_a_folder
def test_folders_are_taken_in_the_order_of_their_submission(stream: Stream, tmp_path: Path) -> None:
    """On a server that dates objects by the second, too."""
    names = [f"task-{number}" for number in range(6, 0, -1)]
    for name in names:
        stream.inbox.submit(write_task_folder(tmp_path / name, name))
        os.utime(Path(stream.url) / "inbox" / name / METADATA, (1e9, 1e9))
    assert accept_all(stream) == names
    assert [one.task for one in stream.inbox.waiting()] == names
    assert keys(stream, "inbox/") == []


@in_memory
def test_names_that_no_object_can_have_do_not_hold_up_the_others(stream: Stream, tmp_path: Path) -> None:
    content = {file.name: file.read_bytes() for file in write_task_folder(tmp_path / "bags", "bags").iterdir()}
    odd = [f"inbox/{folder}/{name}" for folder in ("", "we\\ird", "..") for name in content]
    files = stream.objects._files  # as another uploader would, whose names nobody checks
    for key in [*odd, "inbox/bags/sub\\dir.txt"]:
        files.pipe_file(f"{stream.objects._root}/{key}", content.get(key.rpartition("/")[2], b"x"))
    for name, data in content.items():
        stream.objects.put(f"inbox/bags/{name}", data)
    assert (stream.inbox.complete(), stream.inbox.incomplete()) == (["bags"], [])
    assert stream.inbox.misnamed() == sorted([*odd, "inbox/bags/sub\\dir.txt"])
    assert accept_all(stream) == ["bags"]
    assert (stream.inbox.complete(), stream.inbox.incomplete()) == ([], [])
    assert copy_stream(stream, str(tmp_path / "saved")).inbox.misnamed() == []


@in_a_folder
def test_a_name_that_is_no_text_is_shown_and_left_alone(stream: Stream) -> None:
    inbox = Path(stream.url) / "inbox"
    write_task_folder(inbox / "shoes", "shoes").rename(inbox / "sh\udcffes")
    assert (stream.inbox.complete(), stream.inbox.incomplete()) == ([], [])
    assert stream.inbox.misnamed() == ["inbox/sh\\udcffes/task.json", "inbox/sh\\udcffes/train.parquet"]


@in_a_folder
def test_files_in_sub_folders_go_with_their_folder(stream: Stream) -> None:
    inbox = Path(stream.url) / "inbox"
    notes = write_task_folder(inbox / "bags", "bags") / ".ipynb_checkpoints" / "x.json"
    notes.parent.mkdir()
    notes.write_text("{}")
    spark = write_task_folder(inbox / "spark", "spark") / "train.parquet"
    spark.unlink()
    spark.mkdir()
    (spark / "part-0.parquet").write_bytes(b"rows")
    (spark / "reason.json").write_text('{"reason": "nobody wrote this"}')
    stream.inbox.reject("spark", "train.parquet is a folder")
    assert accept_all(stream) == ["bags"]
    assert (stream.inbox.complete(), stream.inbox.incomplete(), keys(stream, "inbox/")) == ([], [], [])
    assert stream.objects.read("rejected/spark/train.parquet/part-0.parquet") == b"rows"
    assert stream.inbox.rejected() == {"spark": "train.parquet is a folder"}


@in_a_folder
def test_only_what_the_description_names_is_kept(stream: Stream, tmp_path: Path) -> None:
    folder = write_task_folder(tmp_path / "shoes", "shoes")
    for name in ("_SUCCESS", "notes.txt"):
        (folder / name).touch()
    stream.inbox.accept(stream.inbox.submit(folder), info_of("shoes"))
    assert keys(stream, "tasks/") == ["tasks/shoes/task.json", "tasks/shoes/train.parquet"]
    assert set(stream.inbox.registration("shoes").files) == {"task.json", "train.parquet"}
    assert keys(stream, "inbox/") == []


@in_memory
def test_a_folder_that_another_run_has_accepted_is_not_there_any_more(stream: Stream, tmp_path: Path) -> None:
    folder = stream.inbox.submit(write_task_folder(tmp_path / "shoes", "shoes"))
    other = Stream.open(stream.url)
    assert other.inbox.complete() == [folder]
    assert other.inbox.is_complete(folder)
    accept_all(stream)
    with pytest.raises(NotFound, match=r"inbox/shoes/task\.json"):
        other.inbox.accept(folder, info_of("shoes"))
    assert not other.inbox.is_complete(folder)
    assert [one.number for one in stream.inbox.waiting()] == [1]
