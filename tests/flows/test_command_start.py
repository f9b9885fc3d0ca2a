"""`apd init`, `pack` and `submit`, with right and wrong input."""

import io
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from apd.config import to_json
from apd.data import LocalFolder, load_task
from apd.store import Stream
from tests.flows.command import answer_of, apd, mistake
from tests.flows.small_tasks import CONFIG, create

HEAVY = ("torch", "ray", "prefect", "numpy", "sklearn", "pyarrow", "fsspec", "matplotlib")


@pytest.fixture
def stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stream:
    """An empty stream, named by the environment."""
    monkeypatch.setenv("APD_STREAM", str(tmp_path / "stream"))
    return create(tmp_path / "stream")


def picture(number: int) -> Image.Image:
    return Image.fromarray(np.full((9, 7), number, np.uint8))


def picture_folder(place: Path) -> Path:
    """Ten pictures of each of two classes."""
    for name, shade in (("dark", 10), ("bright", 240)):
        (place / name).mkdir(parents=True)
        for number in range(10):
            picture(shade + number).save(place / name / f"{number}.png")
    return place


def test_version_names_all_that_decides_who_understands_whom():
    said = apd("--version").stdout
    assert said.startswith(f"apd {version('apd')}\n")
    assert f"torch {version('torch')}, ray {version('ray')}, prefect {version('prefect')}" in said


def test_help_teaches_and_imports_nothing_heavy():
    code = f"import sys; import flows.cli; print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
    text = apd("--help").stdout
    assert "apd init my-stream --shape 3x32x32" in text
    assert text.index("init") < text.index("submit") < text.index("run") < text.index("predict")
    for command in ("init", "pack", "submit", "run", "tasks", "status", "log", "evaluate", "consolidate", "predict"):
        assert "Usage" in apd(command, "--help").stdout
    assert "Usage" in apd(code=2).output


def test_init_stores_what_it_was_told(tmp_path: Path):
    place = tmp_path / "new"
    apd("init", place, "--shape", "1x8x8", "--network", "mlp", "--set", "network.arguments.hidden=[8,4]", "--set",
        "learning.epochs=3", "--set", "learning.variant=apd1")  # fmt: skip
    config = Stream.open(str(place)).config
    assert config.input_shape == (1, 8, 8)
    assert (config.network.name, config.network.arguments) == ("mlp", {"hidden": [8, 4]})
    assert (config.learning.epochs, config.learning.variant) == (3, "apd1")


def test_init_takes_the_settings_of_another_stream_and_options_overrule_them(stream: Stream, tmp_path: Path):
    (tmp_path / "settings.json").write_text(json.dumps(answer_of("status")["settings"]))
    apd("init", tmp_path / "same", "--config", tmp_path / "settings.json")
    assert Stream.open(str(tmp_path / "same")).config == stream.config
    apd("init", tmp_path / "other", "--config", tmp_path / "settings.json", "--shape", "1x9x9", "--set",
        "learning.epochs=7")  # fmt: skip
    expected = to_json(CONFIG)
    expected["input_shape"], expected["learning"]["epochs"] = [1, 9, 9], 7
    assert to_json(Stream.open(str(tmp_path / "other")).config) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shape", "0x8"), "input_shape is (0, 8) but must be one or more sizes >= 1"),
        (("--shape", "1x8x8", "--dtype", "int8"), "input_dtype is 'int8' but must be one of uint8, float32"),
        (("--shape", "1x8x8", "--network", "vgg"), "network.name is 'vgg' but must be mlp, lenet"),
        (("--shape", "1x8x8", "--network", "absent:net"), "no module 'absent'"),
        (("--shape", "1x8x8", "--network", "tests.flows.own_code:absent"), "has no 'absent'"),
        (("--shape", "1x8x9", "--network", "tests.flows.own_code:network"), "fails on inputs of (1, 8, 9)"),
        (("--shape", "64", "--network", "lenet"), "must be (channels, height, width)"),
        (("--shape", "1x8x8", "--set", "epochs=3"), "unknown setting epochs; StreamConfig has acceptance"),
        (("--shape", "1x8x8", "--set", "learning.epochs=0"), "learning.epochs is 0 but must be >= 1"),
        (("--shape", "1x8x8", "--set", "learning.epochs=many"), "learning.epochs is 'many' but must be a whole number"),
        (("--shape", "1x8x8", "--set", "learning=3"), "learning is 3 but must be an object"),
        (("--shape", "1x8x8", "--set", "network=3"), "network is 3 but must be an object"),
        (("--shape", "1x8x8", "--set", "network.arguments.depth=3"), "unexpected keyword argument 'depth'"),
    ],
)
def test_init_refuses_bad_settings_and_makes_nothing(tmp_path: Path, arguments: tuple[str, ...], message: str):
    assert message in mistake("init", tmp_path / "new", *arguments)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--shape", "3 by 3"),
        ("--shape", "1x8x8", "--set", "learning.epochs"),
        ("--config", "absent.json"),
        ("--depth", "3"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(tmp_path: Path, arguments: tuple[str, ...]):
    apd("init", tmp_path / "new", *arguments, code=2)
    assert not (tmp_path / "new").exists()


def test_init_refuses_files_that_hold_no_settings(tmp_path: Path):
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "broken.json").write_text("{")
    assert "list.json holds a list" in mistake("init", tmp_path / "new", "--config", tmp_path / "list.json")
    assert "broken.json is not JSON" in mistake("init", tmp_path / "new", "--config", tmp_path / "broken.json")


def test_init_refuses_a_place_that_is_taken_or_cannot_be_written(stream: Stream, tmp_path: Path):
    assert "there is a stream in" in mistake("init", stream.url, "--shape", "1x8x8")
    (tmp_path / "file").write_text("in the way")
    assert "cannot be made: Not a directory" in mistake("init", tmp_path / "file", "--shape", "1x8x8")


def test_pack_takes_pictures_parquet_arrays_and_datasets(stream: Stream, tmp_path: Path):
    picture_folder(tmp_path / "pictures")
    rows = []
    for number in range(20):
        file = io.BytesIO()
        picture(number * 10).save(file, "PNG")
        rows.append({"bytes": file.getvalue(), "path": None})
    pq.write_table(pa.table({"image": rows, "label": [number % 2 for number in range(20)]}), tmp_path / "hub.parquet")
    np.savez(tmp_path / "arrays.npz", x=np.zeros((20, 8, 8, 1), np.uint8), y=np.arange(20) % 2)
    packed = tmp_path / "packed"
    apd("pack", tmp_path / "pictures", "pictures", "--into", packed)
    apd("pack", tmp_path / "hub.parquet", "parquet", "--into", packed, "--classes", "even,odd")
    apd("pack", tmp_path / "arrays.npz", "arrays", "--into", packed, "--channels-last")
    said = apd("pack", "tests.flows.own_code:pictures", "dataset", "--into", packed).stdout
    assert said == f"packed dataset: 2 classes, train; in {packed / 'dataset'}\n"
    for name in ("pictures", "parquet", "arrays", "dataset"):
        data = load_task(LocalFolder(packed / name), stream.config)
        assert data.train.inputs.shape[1:] == (1, 8, 8)
    assert json.loads((packed / "parquet" / "task.json").read_text())["classes"] == ["even", "odd"]
    assert json.loads((packed / "dataset" / "task.json").read_text())["classes"] == ["dark", "bright"]


def test_pack_says_when_inputs_are_of_a_size_that_is_hard_to_learn_from(tmp_path: Path):
    sensors = create(tmp_path / "sensors", input_shape=(3,), input_dtype="float32")
    np.savez(tmp_path / "pressure.npz", x=np.random.default_rng(0).normal(1000, 2, (20, 3)), y=np.arange(20) % 2)
    done = apd("pack", tmp_path / "pressure.npz", "pressure", "--stream", sensors.url, "--into", tmp_path)
    assert done.stdout.startswith("packed pressure: 2 classes")
    assert done.stderr.startswith("pressure: inputs are about 1e+03 in size")


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        ("absent", "task", "absent does not exist; expected a folder of pictures"),
        ("absent:pictures", "task", "no module 'absent'"),
        ("tests.flows.own_code:broken", "task", "raised OSError: the disk is gone"),
        ("tests.flows.own_code:number", "task", "gave {'train': 'int'}; expected a torch Dataset"),
        ("tests.flows.own_code:pictures", "Big", "name is 'Big' but must be 1 to 64 of a-z"),
        ("tests.flows.own_code:pictures", "../task", "name is '../task' but must be"),
    ],
)
def test_pack_refuses(stream: Stream, tmp_path: Path, source: str, name: str, message: str):
    assert message in mistake("pack", source, name, "--into", tmp_path / "packed")


def test_pack_refuses_what_does_not_fit_the_stream_or_has_no_place(stream: Stream, tmp_path: Path):
    np.savez(tmp_path / "wide.npz", x=np.zeros((20, 1, 8, 9), np.uint8), y=np.arange(20) % 2)
    np.savez(tmp_path / "real.npz", x=np.zeros((20, 1, 8, 8), np.float32), y=np.arange(20) % 2)
    assert "(1, 8, 9), expected (1, 8, 8)" in mistake("pack", tmp_path / "wide.npz", "wide", "--into", tmp_path)
    assert "but the stream takes uint8" in mistake("pack", tmp_path / "real.npz", "real", "--into", tmp_path)
    (tmp_path / "file").write_text("in the way")
    said = mistake("pack", "tests.flows.own_code:pictures", "task", "--into", tmp_path / "file")
    assert said == f"NotADirectoryError: {tmp_path / 'file' / 'task'}: Not a directory\n"


def test_submit_takes_several_folders_all_or_none(stream: Stream, tmp_path: Path):
    for name in ("one", "two"):
        apd("pack", "tests.flows.own_code:pictures", name, "--into", tmp_path)
    assert "absent is no task folder" in mistake("submit", tmp_path / "one", tmp_path / "absent")
    assert stream.inbox.complete() == []
    apd("submit", tmp_path / "one", tmp_path / "two")
    assert stream.inbox.complete() == ["one", "two"]
    assert [(row["task"], row["state"]) for row in answer_of("tasks")] == [("one", "submitted"), ("two", "submitted")]
    said = mistake("submit", tmp_path / "one")
    assert f"{tmp_path / 'one'}: a task named 'one' has arrived in {stream.url} already; choose another name" in said


def test_withdraw_asks_before_and_says_what_it_removed(stream: Stream, tmp_path: Path):
    apd("pack", "tests.flows.own_code:pictures", "one", "--into", tmp_path)
    apd("submit", tmp_path / "one")
    assert "Remove one for good" in apd("withdraw", "one", code=1, answer="n\n").output
    assert stream.inbox.complete() == ["one"]
    assert apd("withdraw", "one", "--yes").stdout == f"removed {stream.url}/inbox/one\n"
    assert answer_of("tasks") == []
    assert "no folder 'one' is in the inbox" in mistake("withdraw", "one", "--yes")


def test_submit_refuses_a_task_of_another_stream(stream: Stream, tmp_path: Path):
    other = create(tmp_path / "other", input_shape=(1, 9, 9))
    np.savez(tmp_path / "large.npz", x=np.zeros((20, 1, 9, 9), np.uint8), y=np.arange(20) % 2)
    apd("pack", tmp_path / "large.npz", "large", "--stream", other.url, "--into", tmp_path)
    said = mistake("submit", tmp_path / "large")
    assert "large: task.json: inputs are uint8 [1, 9, 9], but the stream takes uint8 [1, 8, 8]" in said


@pytest.mark.parametrize("command", ["tasks", "status", "log", "run", "evaluate", "consolidate", "report"])
def test_without_a_stream_every_command_says_what_is_missing(command: str, tmp_path: Path, monkeypatch):
    monkeypatch.delenv("APD_STREAM", raising=False)
    assert "APD_STREAM" in apd(command, code=2).output
    assert f"there is no stream in {tmp_path / 'absent'}; `apd init` makes one" in mistake(
        command, "--stream", tmp_path / "absent"
    )


def test_a_url_of_another_protocol_is_refused_with_a_sentence():
    said = mistake("init", "ftp://host/stream", "--shape", "1x8x8")
    assert "'ftp://host/stream' is no place for a stream; give a folder or s3://bucket/prefix" in said
