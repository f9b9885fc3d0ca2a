"""`apd` on a stream that has learned: what it shows, predicts, exports, and the flows that it starts."""

import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from prefect.settings import PREFECT_API_URL, temporary_settings
from safetensors.torch import load_file

from apd.data import TaskInfo
from apd.errors import ClusterError
from apd.networks import from_config
from apd.store import Stream
from flows.cli import work
from tests.flows.command import answer_of, apd, mistake
from tests.flows.small_tasks import bits, copy, create, demanding, digits, names, rewound, submit

FIRST, SECOND, THIRD = names(3)


@pytest.fixture
def stream(learned: Stream, monkeypatch: pytest.MonkeyPatch) -> Stream:
    """Three tasks, consolidated; named by the environment. To look at."""
    monkeypatch.setenv("APD_STREAM", learned.url)
    return learned


@pytest.fixture
def own(learned: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stream:
    """A copy of it, to change."""
    monkeypatch.setenv("APD_STREAM", str(tmp_path / "own"))
    return copy(learned, tmp_path / "own")


def test_tasks_for_people_and_for_scripts(stream: Stream):
    heading, *lines = apd("tasks").stdout.splitlines()
    assert heading.split() == ["task", "state", "accuracy", "stored"]
    assert [line.split()[:2] for line in lines] == [[name, "learned"] for name in names(3)]
    assert all(re.search(r" \d+\.\d % +\d+\.\d kB  5 classes, version \d$", line) for line in lines)
    assert [row["learned_in"] for row in answer_of("tasks")] == [1, 2, 3]
    assert all(0 < row["test_accuracy"] <= 1 for row in answer_of("tasks"))
    assert [row["task"] for row in answer_of("tasks", "--version", "1")] == [FIRST]
    assert "the stream has no version 99" in mistake("tasks", "--version", "99")
    assert "`apd log`" in mistake("tasks", "--version", "99")


def test_status_for_people_and_for_scripts(stream: Stream):
    text = apd("status").stdout
    assert re.search(r"network +mlp, inputs 1x8x8 uint8", text)
    assert re.search(r"version +4 \(consolidate, \d{4}-\d\d-\d\d \d\d:\d\d UTC\)", text)
    assert re.search(r"tasks +3 learned\n", text)
    assert re.search(r"average accuracy +\d\d\.\d %", text)
    assert re.search(r"consolidation +0 of 3 tasks since the last one", text)
    assert answer_of("status")["tasks"] == 3


def test_an_empty_stream_says_what_to_do(tmp_path: Path):
    empty = create(tmp_path / "empty")
    assert "no tasks yet; `apd pack`" in apd("tasks", "--stream", empty.url).stdout
    assert "has no learned task" in mistake("consolidate", "--stream", empty.url)
    assert "0 learned" in apd("status", "--stream", empty.url).stdout


def test_log_is_newest_first(stream: Stream):
    assert [row["kind"] for row in answer_of("log")] == ["consolidate", "learn", "learn", "learn", "create"]
    assert [row["version"] for row in answer_of("log", "--limit", "2")] == [4, 3]
    assert f"learned {THIRD}" in apd("log").stdout


def test_predict_on_pictures_and_arrays(stream: Stream, tmp_path: Path):
    inputs = digits()[0].data.test.inputs[:3].numpy()
    np.save(tmp_path / "three.npy", inputs)
    for row, one in enumerate(inputs):
        Image.fromarray(one[0]).save(tmp_path / f"{row}.png")
    of_pictures = answer_of("predict", FIRST, *(tmp_path / f"{row}.png" for row in range(3)))
    of_arrays = answer_of("predict", FIRST, tmp_path / "three.npy")
    assert [answer["label"] for answer in of_pictures] == [answer["label"] for answer in of_arrays]
    assert all(sum(answer["probabilities"].values()) == pytest.approx(1) for answer in of_pictures)
    line = apd("predict", FIRST, tmp_path / "0.png").stdout
    assert re.fullmatch(rf"{tmp_path / '0.png'}: [0-4] \(\d+\.\d %\)\n", line)


def test_predict_refuses_by_name(stream: Stream, tmp_path: Path):
    assert f"has no task 'shoes'; it has {FIRST}, {SECOND}, {THIRD}" in mistake("predict", "shoes", "x.png")
    assert f"did you mean {FIRST}" in mistake("predict", FIRST + "0", "x.png")
    assert "x.png does not exist; expected a picture" in mistake("predict", FIRST, "x.png")
    assert f"version 1 has no task '{SECOND}'" in mistake("predict", SECOND, "x.png", "--version", "1")


def test_the_exported_file_in_the_bare_network_predicts_the_same(stream: Stream, tmp_path: Path):
    apd("export", SECOND, tmp_path / "second.safetensors")
    module = from_config(stream.config).build(5)
    module.load_state_dict(load_file(tmp_path / "second.safetensors"), strict=True)
    inputs = digits()[1].data.test.inputs[:5]
    np.save(tmp_path / "inputs.npy", inputs.numpy())
    with torch.no_grad():
        expected = torch.softmax(module.eval()(inputs / 255), dim=1)
    answers = answer_of("predict", SECOND, tmp_path / "inputs.npy")
    assert [list(answer["probabilities"].values()) for answer in answers] == expected.tolist()
    assert "cannot be written" in mistake("export", SECOND, tmp_path / "absent" / "second.safetensors")


def test_run_learns_what_waits_and_says_so(own: Stream):
    submit(own, 3)
    result = apd("run")
    assert result.stdout == f"version 5: learned {digits()[3].name}\n"
    assert [re.sub(r"\d\d:\d\d:\d\d  ", "", line).split(" ")[0] for line in result.stderr.splitlines()[:2]] == [
        *("accepted", f"{digits()[3].name}:")
    ]
    assert "Flow run" not in result.output
    assert apd("run").stdout == "nothing was waiting\n"
    assert answer_of("run") == {"learned": [], "refused": [], "rejected": [], "version": 5}
    for folder in ("broken", "torn"):
        submit(own, 2, name=folder)
        own.objects.put(f"inbox/{folder}/train.parquet", b"no Parquet at all")
        if folder == "broken":
            assert apd("run").stdout == "rejected broken; `apd tasks` says why\n"
    assert answer_of("run")["rejected"] == ["torn"]


def test_run_ends_with_3_when_a_task_is_refused_and_accept_learns_it(own: Stream, tmp_path: Path):
    demanding(own, min_accuracy=1.0)
    name = submit(own, 3)
    result = apd("run", code=3)
    assert result.stdout == ""
    assert re.search(rf"refused: {name} has \d+\.\d % validation accuracy; at least 100.0 % is demanded", result.stderr)
    [row] = [row for row in answer_of("tasks") if row["state"] == "refused"]
    assert (row["task"], answer_of("status")["refused"]) == (name, 1)
    assert "3 learned, 1 refused" in apd("status").stdout
    assert apd("run").stdout == "nothing was waiting\n"
    again = copy(own, tmp_path / "again")
    assert apd("retry", name, "--stream", again.url).stdout == f"the next run tries {name} again\n"
    assert [one.task for one in again.inbox.waiting()] == [name]
    assert "no task 'shoes' was refused" in mistake("accept", "shoes")
    assert apd("accept", name).stdout == f"version 5: learned {name}\n"
    assert [row["state"] for row in answer_of("tasks")] == ["learned"] * 4


def test_run_ends_with_1_when_a_task_cannot_be_learned(own: Stream):
    name = submit(own, 3)
    own.inbox.accept(name, digits()[3].write(Path(own.url).parent / "folder"))
    own.objects.delete(f"tasks/{name}/train.parquet")
    result = apd("run", code=1)
    assert f"not learned, still waiting: {name}" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.output
    assert [row["state"] for row in answer_of("tasks")] == ["learned"] * 3 + ["waiting"]


class Enough(Exception):
    """Ends a watch."""


def test_a_watch_outlives_failures_and_looks_again_later(own: Stream, monkeypatch: pytest.MonkeyPatch, capsys):
    pauses: list[float] = []
    outcomes: list[Callable[[], None]] = [fails, fails, lambda: None]
    monkeypatch.setattr(work, "learn_what_waits", lambda *_, **__: outcomes.pop(0)())

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if not outcomes:
            raise Enough

    monkeypatch.setattr(work.time, "sleep", sleep)
    submit(own, 3)
    with pytest.raises(Enough):
        work.watch_inbox(own, every=5.0)
    assert pauses == [10.0, 20.0, 5.0]
    assert "ClusterError: no node\nlooking again in 10 s" in capsys.readouterr().err


def fails() -> None:
    raise ClusterError("no node")


AWAY = {PREFECT_API_URL: "http://user:secret@127.0.0.1:9/api"}
"""Settings that name a Prefect server where nobody listens."""


@pytest.mark.parametrize("command", [["run"], ["prefect", "setup"]])
def test_a_prefect_server_that_is_away_is_a_mistake_in_one_line(own: Stream, command: list[str]):
    submit(own, 3)
    with temporary_settings(AWAY):
        said = mistake(*command)
    assert "no Prefect server answers at PREFECT_API_URL=http://user:***@127.0.0.1:9/api" in said
    assert "secret" not in said


def test_a_watch_outlives_a_server_that_is_away_and_prints_a_line_for_each_run(
    own: Stream, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    submit(own, 3)
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        away.close()
        if len(pauses) == 2:
            raise Enough

    monkeypatch.setattr(work, "time", SimpleNamespace(sleep=sleep))
    away = ExitStack()
    away.enter_context(temporary_settings(AWAY))
    with away, pytest.raises(Enough):
        work.watch_inbox(own, every=5.0, as_json=True)
    assert pauses == [10.0, 5.0]
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"learned": [digits()[3].name], "refused": [], "rejected": [], "version": 5}


def test_evaluate_shows_accuracies_now_and_then(own: Stream):
    rows = answer_of("evaluate", "--again")
    assert [row["task"] for row in rows] == names(3)
    assert rows == answer_of("evaluate")
    assert apd("evaluate", "--version", "1").stdout.splitlines()[1].split()[0] == FIRST
    assert "no version 99" in mistake("evaluate", "--version", "99")


def test_consolidate_says_what_it_did_or_why_not(own: Stream):
    assert apd("consolidate", "--only-if-due").stdout == "nothing is due\n"
    assert answer_of("consolidate", "--only-if-due") == {"version": None, "outcome": "nothing is due"}
    before = rewound(own)
    assert re.fullmatch(r"version 4: 3 tasks, .* non-zeros\n", apd("consolidate").stdout)
    for entry in rewound(before).head().entries:
        before.evaluations.put(entry.theta_key, {"validation_accuracy": 3.0, "test_accuracy": 1.0})
    refused = apd("consolidate", "--json", code=3)
    assert json.loads(refused.stdout) == {"version": None, "outcome": "refused: the head stays"}


def test_forget_asks_before_and_checks_after(own: Stream):
    before = bits(own)
    apd("forget", SECOND, code=1, answer="n\n")
    assert bits(own) == before
    assert "has no task 'shoes'" in mistake("forget", "shoes", "--yes")
    evidence = answer_of("forget", SECOND, "--yes")
    assert (evidence["version"], evidence["task"], evidence["unchanged"]) == (5, SECOND, 2)
    assert bits(own) == {name: key for name, key in before.items() if name != SECOND}
    assert "5" in apd("forget", SECOND).stdout  # nothing is left to do: the version that forgot it
    assert "was forgotten in version 5" in mistake("predict", SECOND, "x.png", "--version", "4")


def test_a_task_that_waits_is_forgotten_when_asked_for(own: Stream):
    own.inbox.register(TaskInfo("shoes", ("boots", "clogs"), (1, 8, 8), "uint8"))
    apd("forget", "shoes", code=1, answer="n\n")
    assert [one.task for one in own.inbox.waiting()] == ["shoes"]
    said = apd("forget", "shoes", "--yes").stdout
    assert said == "version 5: forgot shoes, which was never learned, 3 other tasks unchanged\n"
    assert own.inbox.waiting() == []
    assert "shoes" not in apd("tasks").stdout


def test_report_prints_where_it_is(own: Stream):
    place = Path(apd("report", "--version", "3").stdout.strip())
    assert place == Path(own.url) / "reports" / "00000003.html"
    assert THIRD in place.read_text()
    assert "no version 99" in mistake("report", "--version", "99")


def test_what_scripts_read_is_json_and_nothing_else(stream: Stream):
    for command in ("tasks", "status", "log"):
        json.loads(apd(command, "--json").stdout)
