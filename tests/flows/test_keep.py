"""The commands that look after a stream as a whole, as a user runs them."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from apd.data import TaskInfo
from apd.decomposition import bare_state
from apd.networks import from_config
from apd.store import Stream
from apd.training import Fit
from flows.cli import app
from tests.flows.command import apd
from tests.flows.small_tasks import create, digits
from tests.store.samples import CONFIG, learn

pytestmark = pytest.mark.usefixtures("quiet_environment")


@pytest.fixture
def quiet_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The stream comes from the environment, as on a user's machine."""
    monkeypatch.setenv("APD_STREAM", str(tmp_path / "stream"))


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    """Three learned tasks."""
    created = Stream.create(str(tmp_path / "stream"), CONFIG)
    for seed, name in enumerate("abc", start=1):
        learn(created, name, seed)
    return created


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def test_diff_names_what_changed(stream: Stream) -> None:
    changes = json.loads(run("diff", "1", "3", "--json"))
    assert [(change["task"], change["change"]) for change in changes] == [("a", "same"), ("b", "added"), ("c", "added")]
    assert "same" in run("diff", "1", "3")


def train(stream: Stream, place: int) -> str:
    """Learn a task of digits in this process; returns its name."""
    task, base = digits()[place], stream.head()
    network, classes = from_config(stream.config), len(task.classes)
    training = Fit(network, task.name, classes, task.data, stream.arrival(base), stream.config.learning)
    list(training.epochs())
    info = TaskInfo(task.name, task.classes, stream.config.input_shape, "uint8")
    number = stream.inbox.register(info)
    stream.commit_candidate(stream.write_candidate(training.result(), base=base, info=info, metrics={}, arrival=number))
    return task.name


def test_checkout_writes_an_old_version_as_plain_networks(tmp_path: Path) -> None:
    stream = create(tmp_path / "stream")
    names = [train(stream, number) for number in range(3)]
    assert "wrote 2 tasks" in run("checkout", str(tmp_path / "out"), "--version", "2")
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert (index["version"], list(index["tasks"])) == (2, names[:2])
    expected = bare_state(stream.load_task(stream.version(2), names[1]))
    written = load_file(tmp_path / "out" / index["tasks"][names[1]]["file"])
    assert written.keys() == expected.keys()
    assert all(written[name].equal(expected[name]) for name in expected)


def test_checkout_names_what_was_forgotten_since(tmp_path: Path) -> None:
    stream = create(tmp_path / "stream")
    names = [train(stream, number) for number in range(2)]
    stream.commit_forget(names[0])
    assert run("checkout", str(tmp_path / "out"), "--version", "2").splitlines() == [
        f"wrote 1 task to {tmp_path / 'out'}",
        f"left out, forgotten since: {names[0]}",
    ]


def test_checkout_overwrites_nothing(stream: Stream, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert "name a folder that is not there yet" in run("checkout", str(tmp_path / "out"), code=1)


def test_rollback_makes_a_new_version_equal_to_the_old_one(stream: Stream) -> None:
    said = run("rollback", "1")
    assert "version 4" in said
    assert "without b, c; `apd forget` removes one for good" in said
    head = Stream.open(stream.url).head()
    assert (head.number, [entry.record for entry in head.entries]) == (
        4,
        [entry.record for entry in stream.version(1).entries],
    )


def test_rollback_to_a_version_that_is_not_there_says_which_there_are(stream: Stream) -> None:
    assert "no version 9" in run("rollback", "9", code=1)


def test_forgetting_what_a_rollback_set_aside_asks_first(stream: Stream) -> None:
    run("rollback", "1")
    assert "Remove b for good" in apd("forget", "b", code=1, answer="n\n").output
    assert [entry.name for entry in stream.version(3).entries] == ["a", "b", "c"]
    assert stream.load_task(stream.version(3), "b").name == "b"


def test_fork_goes_on_independently(stream: Stream, tmp_path: Path) -> None:
    run("fork", str(tmp_path / "other"), "--version", "2")
    other = Stream.open(str(tmp_path / "other"))
    assert [entry.name for entry in other.head().entries] == ["a", "b"]
    learn(other, "d", 4)
    assert [entry.name for entry in Stream.open(stream.url).head().entries] == ["a", "b", "c"]


def test_verify_is_clean_until_a_byte_flips(stream: Stream, tmp_path: Path) -> None:
    assert run("verify").endswith("clean\n")
    blob = max((tmp_path / "stream" / "blobs").glob("*/*"), key=lambda path: path.stat().st_size)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(bytes(data))
    assert blob.name in run("verify", code=1)


def test_usage_adds_up(stream: Stream) -> None:
    found = json.loads(run("usage", "--json"))
    assert found["total"] == sum(found["by_kind"].values())
    assert {"a", "b", "c"} <= found["by_task"].keys()
    assert "in all" in run("usage")


def test_gc_removes_only_when_told_to(stream: Stream) -> None:
    before = set(stream.objects.list(""))
    assert "would remove" in run("gc", "--keep", "1", "--grace", "0")
    assert {item.key for item in stream.objects.list("")} >= {item.key for item in before}
    assert run("gc", "--keep", "1", "--grace", "0", "--yes").startswith("removed")
    assert run("verify").endswith("clean\n")
    assert Stream.open(stream.url).load_task(Stream.open(stream.url).head(), "a").name == "a"
