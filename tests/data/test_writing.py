"""Writing a task folder: all of it or nothing that counts, and nobody else's file is touched."""

import os

import numpy as np
import pytest
from folders import validate

from apd.config import StreamConfig
from apd.data import LocalFolder, read_info, write_task
from apd.errors import DataError, TaskRejected


def rows(count=6, first=0, shape=(2,)):
    labels = np.arange(first, first + count) % 3
    return np.full((count, *shape), 7, np.uint8), labels.astype(np.int64)


def test_an_interrupted_write_leaves_no_task_and_is_overwritten(tmp_path):
    def interrupted():
        yield rows()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_task(tmp_path, "shoes", {"train": [rows()], "test": interrupted()}, "abc")
    assert not (tmp_path / "task.json").exists()
    write_task(tmp_path, "shoes", {"train": [rows(), rows()]}, "abc")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["task.json", "train.parquet"]
    assert validate(tmp_path, StreamConfig((2,))).classes == ("a", "b", "c")


def test_a_write_interrupted_while_files_get_their_names_is_overwritten(tmp_path, monkeypatch):
    def killed(source, target):
        if str(target).endswith("test.parquet"):
            raise KeyboardInterrupt
        rename(source, target)

    rename = os.replace
    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_task(tmp_path, "shoes", {"train": [rows()], "test": [rows()]}, "abc")
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == ["task.json.partial", "test.parquet.partial", "train.parquet"]
    monkeypatch.undo()
    write_task(tmp_path, "shoes", {"train": [rows()]}, "abc")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["task.json", "train.parquet"]


@pytest.mark.parametrize("name", ["train.parquet", "test.parquet", "notes.txt"])
def test_files_of_somebody_else_are_left_alone(tmp_path, name):
    (tmp_path / name).write_bytes(b"years of work")
    with pytest.raises(DataError, match=f"holds '{name}'; expected a new or empty folder"):
        write_task(tmp_path, "shoes", {"train": [rows()]}, "abc")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: b"years of work"}


def test_a_folder_in_use_is_left_alone(tmp_path):
    write_task(tmp_path, "shoes", {"train": [rows()]}, "abc")
    with pytest.raises(DataError, match=r"holds 'task.json'; expected a new or empty folder"):
        write_task(tmp_path, "boots", {"train": [rows()]}, "abc")
    assert read_info(LocalFolder(tmp_path)).name == "shoes"


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([], "train has no samples"),
        ([rows(), rows(shape=(3,))], r"row 6: found uint8 \(3,\), expected uint8 \(2,\)"),
        ([rows(), (rows()[0], rows()[1] + 5)], "row 6: found 5, expected 0..2"),
        ([(rows()[0], rows()[1] * 0)], "holds only the class 'a'"),
        ([(rows()[0].astype(np.int32), rows()[1])], "inputs are int32"),
    ],
)
def test_rows_that_break_the_format_are_not_written_as_a_task(tmp_path, chunks, message):
    with pytest.raises(DataError, match=message):
        write_task(tmp_path, "shoes", {"train": chunks}, "abc")
    assert not (tmp_path / "task.json").exists()


def test_wrong_class_names_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TaskRejected, match=r"classes is .* but must be different"):
        write_task(tmp_path / "new", "shoes", {"train": [rows()]}, "aab")
    with pytest.raises(DataError, match=r"task 'shoes' has splits \['test'\]; expected train at least"):
        write_task(tmp_path / "new", "shoes", {"test": [rows()]}, "abc")
    assert not (tmp_path / "new").exists()


def test_unnamed_classes_are_numbered_without_gaps(tmp_path):
    assert write_task(tmp_path / "a", "shoes", {"train": [rows()]}).classes == ("0", "1", "2")
    with pytest.raises(DataError, match=r"found 3 labels from 1 to 3; expected 0..2 without gaps"):
        write_task(tmp_path / "b", "shoes", {"train": [(rows()[0], rows()[1] + 1)]})
