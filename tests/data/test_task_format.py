"""What is a task and what is refused: every message names file, column, row, the value found and what was expected."""

import io
import json
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from folders import CONFIG, INFO, load, table, validate, write
from hypothesis import given
from hypothesis import strategies as st

from apd.config import StreamConfig
from apd.data import LocalFolder, TaskInfo, check_name, read_info, validate_task, write_task
from apd.errors import TaskRejected


def changed(**fields):
    return {name: value for name, value in (INFO | fields).items() if value is not ...}


def test_a_good_folder_is_validated_and_loaded(tmp_path):
    folder = write(tmp_path / "t")
    info = validate(folder)
    assert (info.name, info.classes, info.input_shape) == ("shoes", ("boot", "sandal", "clog"), (1, 2, 3))
    assert TaskInfo.from_json(info.to_json()) == info
    data = load(folder)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [18, 6, 6]
    assert data.train.inputs.shape[1:] == (1, 2, 3)
    whole = np.asarray(table()["input"].combine_chunks().flatten()).reshape(-1, 6)
    parts = torch.cat([part.inputs.flatten(1) for part in (data.train, data.validation, data.test)]).numpy()
    assert sorted(map(tuple, parts)) == sorted(map(tuple, whole))


def test_given_splits_are_taken_as_they_are(tmp_path):
    files = {split: f"{split}.parquet" for split in ("train", "validation", "test")}
    folder = write(tmp_path, changed(files=files), train=table(30), validation=table(3), test=table(9))
    validate(folder)
    data = load(folder)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [30, 3, 9]
    assert data.test.labels.tolist() == [0, 1, 2] * 3


def test_float_inputs_keep_their_bits(tmp_path):
    values = np.array([[0.1, -1e30, 3.5, 0, -0.0, 2**-140]] * 9, np.float32)
    inputs = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 6)
    config = StreamConfig((6,), "float32")
    labels = pa.array(np.arange(9) % 3)
    folder = write(tmp_path, changed(input_shape=[6], input_dtype="float32"), train=table(inputs=inputs, labels=labels))
    validate(folder, config)
    assert load(folder, config).train.inputs.numpy().tobytes() == values[:3].tobytes()


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ("{", "task.json is not JSON"),
        ("[" * 100_000, "task.json is not JSON"),
        ("[]", "task.json: content is 'list' but must be one JSON object"),
        (changed(classes=...), "task.json: classes is 'missing'"),
        (changed(colour="red"), "task.json: colour is 'unknown'"),
        (changed(schema=2), "task.json: schema is 2 but must be 1"),
        (changed(schema=True), "task.json: schema is True"),
        (changed(kind="regression"), "kind is 'regression' but must be 'classification'"),
        (changed(name="../other"), r"name is '../other' but must be 1 to 64"),
        (changed(name="Shoes"), "name is 'Shoes'"),
        (changed(name="a..b"), r"name is 'a..b'"),
        (changed(name="shoes\n"), r"name is 'shoes\\n'"),
        (changed(name=7), "name is 7 but must be a string"),
        (changed(classes=["boot"]), r"classes is \['boot'\] but must be two or more names"),
        (changed(classes=["boot", " "]), "two or more names"),
        (changed(classes=["boot", "boot"]), r"classes is \['boot'\] but must be different"),
        (changed(classes=["boot", 1]), "a list of str"),
        (changed(input_shape=[1, 2, 0]), r"input_shape is \(1, 2, 0\)"),
        (changed(input_shape=[1, 2.0]), "a list of int"),
        (changed(input_shape=[]), "input_shape"),
        (changed(input_shape=[3, 2, 1]), r"inputs are uint8 \[3, 2, 1\], but the stream takes uint8 \[1, 2, 3\]"),
        (changed(input_dtype="int8"), "input_dtype is 'int8'"),
        (changed(input_dtype="float32"), "inputs are float32"),
        (changed(files={}), "one for 'train' at least"),
        (changed(files={"train": "train.parquet", "dev": "dev.parquet"}), "no other split"),
        (
            changed(files={"train": "../train.parquet"}),
            r"files.train is '../train.parquet' but must be a plain file name",
        ),
        (changed(files={"train": "other.parquet"}), "files.train is 'other.parquet' but must be a file in the folder"),
    ],
)
def test_wrong_metadata_is_refused(tmp_path, info, message):
    with pytest.raises(TaskRejected, match=message):
        validate(write(tmp_path, info))


def test_a_folder_without_metadata_is_not_a_task_yet(tmp_path):
    with pytest.raises(TaskRejected, match=r"no task.json among \['train.parquet'\]: the folder is incomplete"):
        validate(write(tmp_path, None))
    with pytest.raises(TaskRejected, match="among no files"):
        validate(tmp_path / "nowhere")


def test_metadata_of_absurd_size_is_refused_unparsed(tmp_path):
    folder = write(tmp_path, json.dumps(INFO) + " " * 2**24)
    with pytest.raises(TaskRejected, match="size is 'over 4194304 bytes'"):
        read_info(LocalFolder(folder))


def fixed(values, size=6):
    return pa.FixedSizeListArray.from_arrays(values, size)


NINE = pa.array(np.arange(9) % 3)
BYTES = pa.array(np.zeros(54, np.uint8))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (table().drop_columns("label"), r"train.parquet has columns \['input'\] but must have exactly"),
        (table().append_column("weight", pa.array(np.ones(30))), r"has columns \['input', 'label', 'weight'\]"),
        (table(size=5), r"column 'input' is fixed_size_list<.*>\[5\] but must be fixed_size_list<.*>\[6\]"),
        (table(dtype="int16"), "column 'input' is fixed_size_list<.*int16"),
        (table(inputs=pa.array([[0] * 6] * 9, pa.list_(pa.uint8())), labels=NINE), "column 'input' is list<"),
        (table(inputs=fixed(BYTES), labels=NINE.cast(pa.int32())), "column 'label' is int32 but must be int64"),
        (table(0), "train.parquet has no rows; expected one at least"),
        (
            table(labels=pa.array([0, 1, 2] * 9 + [0, 1, 3])),
            r"column 'label', row 29: found 3, expected 0..2, an index into 3 class names",
        ),
        (table(labels=pa.array([0, -1, 2] * 10)), "column 'label', row 1: found -1"),
        (table(labels=pa.array([0, 1] * 5 + [None] + [2] * 19)), "column 'label', row 10: found null"),
        (table(labels=pa.array([1] * 30)), "train.parquet holds only the class 'sandal'; expected samples of two"),
        (
            table(inputs=fixed(pa.array([0] * 20 + [None] + [1] * 33, pa.uint8())), labels=NINE),
            "row 3: found null among",
        ),
        (
            table(inputs=pa.array([[0] * 6] * 8 + [None], pa.list_(pa.uint8(), 6)), labels=NINE),
            "column 'input', row 8: found null",
        ),
        (table(6), "has no class with more than 2 samples; expected 3 .* because validation and test must be held out"),
    ],
)
def test_wrong_rows_are_refused(tmp_path, content, message):
    with pytest.raises(TaskRejected, match=message):
        validate(write(tmp_path, train=content))


@pytest.mark.parametrize(("bad", "found"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_inputs_that_are_not_finite_are_refused(tmp_path, bad, found):
    values = np.zeros((30, 6), np.float32)
    values[17, 4] = bad
    folder = write(tmp_path, changed(input_dtype="float32"), train=table(inputs=fixed(pa.array(values.ravel()))))
    with pytest.raises(TaskRejected, match=f"'input', row 17, value 4: found {found}, expected a finite number"):
        validate(folder, StreamConfig((1, 2, 3), "float32"))


def test_the_fault_is_found_in_whichever_file_it_is(tmp_path):
    files = {"train": "train.parquet", "test": "test.parquet"}
    folder = write(tmp_path, changed(files=files), train=table(), test=table(2, labels=pa.array([0, 9])))
    with pytest.raises(TaskRejected, match=r"test.parquet, column 'label', row 1: found 9"):
        validate(folder)


@pytest.mark.parametrize("damage", ["truncated", "zeroed", "text", "empty"])
def test_damaged_files_are_refused(tmp_path, damage):
    folder = write(tmp_path)
    path = folder / "train.parquet"
    whole = path.read_bytes()
    middle = len(whole) // 4
    path.write_bytes(
        {
            "truncated": whole[:-10],
            "zeroed": whole[:4] + bytes(middle) + whole[4 + middle :],
            "text": b"label,input\n1,2\n",
            "empty": b"",
        }[damage]
    )
    with pytest.raises(TaskRejected, match=r"train.parquet"):
        validate(folder)


def test_no_flipped_byte_of_what_was_packed_reads_as_other_data(tmp_path):
    """Every page has a checksum: compression alone lets one in twenty pass."""
    values = np.random.RandomState(0).randint(0, 256, (40, 1, 2, 3)).astype(np.uint8)
    write_task(tmp_path, "shoes", {"train": [(values, np.arange(40) % 3)]}, INFO["classes"])
    path, good, refused = tmp_path / "train.parquet", load(tmp_path).train, 0
    whole = path.read_bytes()
    pages = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")  # behind them the footer and its length
    for place in range(0, pages, 2):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            found = load(tmp_path).train
        except TaskRejected:
            refused += 1
        else:
            assert torch.equal(found.inputs, good.inputs)
            assert torch.equal(found.labels, good.labels)
    assert refused > 0.8 * pages / 2


def test_a_damaged_name_of_a_column_is_refused(tmp_path):
    path = write(tmp_path) / "train.parquet"
    path.write_bytes(path.read_bytes().replace(b"label", b"l\xff\xffel"))
    with pytest.raises(TaskRejected, match=r"train.parquet is not a readable Parquet file: .*decode"):
        validate(tmp_path)


class Flaky:
    """A folder whose data cannot be read."""

    def __init__(self, folder, error):
        self.folder, self.error = folder, error

    def names(self):
        return self.folder.names()

    def open(self, name):
        return self.folder.open(name) if name == "task.json" else FlakyFile(self.error)


class FlakyFile(io.BytesIO):
    """A file of 1,000 bytes that fails when they are read."""

    def __init__(self, error):
        super().__init__(bytes(1000))
        self.error = error

    def read(self, *_):
        raise self.error


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ConnectionError("the server is silent")])
def test_a_failing_disk_or_network_is_not_a_bad_task(tmp_path, error):
    with pytest.raises(type(error), match=r"Input/output error|the server is silent"):
        validate_task(Flaky(LocalFolder(write(tmp_path)), error), CONFIG)


def test_validation_holds_little_of_a_large_file(tmp_path):
    rows, size = 20_000, 1024
    values = pa.array(np.random.RandomState(0).randint(0, 255, rows * size, dtype=np.uint8))
    content = table(inputs=fixed(values, size), labels=pa.array(np.arange(rows) % 3))
    tmp_path.mkdir(exist_ok=True)
    pq.write_table(content, tmp_path / "train.parquet", row_group_size=rows)
    (tmp_path / "task.json").write_text(json.dumps(changed(input_shape=[size])))
    del values, content
    before = pa.default_memory_pool().max_memory()
    tracemalloc.start()
    validate(tmp_path, StreamConfig((size,)))
    python_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert python_peak < 2**23
    assert pa.default_memory_pool().max_memory() <= before + 2**27


@given(st.text(alphabet="a/.-_A0\\ \n\0é", max_size=66))
def test_names_never_leave_their_folder(name):
    try:
        check_name(name)
    except TaskRejected:
        return
    assert name.isascii()
    assert name == name.lower()
    assert 1 <= len(name) <= 64
    assert "/" not in name
    assert ".." not in name


def test_files_are_read_through_any_seekable_object(tmp_path):
    class Memory:
        def __init__(self, folder):
            self.content = {path.name: path.read_bytes() for path in folder.iterdir()}

        def names(self):
            return list(self.content)

        def open(self, name):
            return io.BytesIO(self.content[name])

    assert validate_task(Memory(write(tmp_path)), CONFIG).name == "shoes"
