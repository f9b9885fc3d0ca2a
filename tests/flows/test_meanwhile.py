"""What others do to a stream while a run is at work on it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apd.errors import ApdError, CorruptObject
from apd.store import Stream
from apd.store.failures import Failures
from flows import run as runs
from flows import steps
from flows.consolidate import consolidate
from flows.run import run
from tests.flows.small_tasks import copy, create, digits, names, rewound, submit

FIRST, SECOND, THIRD = names(3)


def test_what_arrives_during_a_run_is_learned_by_it(engines: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One that failed is not tried again by the same run."""
    stream = create(tmp_path / "arriving")
    submit(stream, 0)
    submit(stream, 1)
    rounds, trainings = list[list[str]](), runs.trainings

    def with_an_arrival(url: str, waiting: list[str], *rest: Any) -> Iterator[Any]:
        rounds.append(waiting)
        if len(rounds) == 1:
            stream.objects.delete(f"tasks/{FIRST}/train.parquet")
        yield from trainings(url, waiting, *rest)
        if len(rounds) == 1:
            submit(stream, 2)

    monkeypatch.setattr(runs, "trainings", with_an_arrival)
    with pytest.raises(ApdError, match=rf"^not learned, still waiting: {FIRST} \("):
        run(stream.url)
    assert rounds == [[FIRST, SECOND], [THIRD]]
    assert [entry.name for entry in stream.head().entries] == [SECOND, THIRD]
    assert THIRD in stream.objects.read(stream.report_key(stream.head().number)).decode()


def test_a_task_that_is_forgotten_and_comes_again_while_it_is_trained_is_learned_from_what_came_last(
    engines: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stream, trainings, first = create(tmp_path / "corrected"), runs.trainings, True
    submit(stream, 0)

    def corrected(url: str, waiting: list[str], *rest: Any) -> Iterator[Any]:
        nonlocal first
        for task, training in trainings(url, waiting, *rest):
            if first:
                first = False
                training.wait()
                stream.commit_forget(FIRST)
                replace(digits()[1], name=FIRST).write(tmp_path / FIRST)
                stream.inbox.submit(tmp_path / FIRST)
            yield task, training

    monkeypatch.setattr(runs, "trainings", corrected)
    assert run(stream.url) == [FIRST]
    (entry,) = stream.head().entries
    assert (entry.name, entry.arrival) == (FIRST, 2)
    assert stream.task_info(FIRST).classes == digits()[1].classes
    assert stream.record(entry)["info"]["classes"] == list(digits()[1].classes)
    assert Failures(stream.objects).of(FIRST) == []


def test_a_task_that_cannot_be_measured_is_learned(engines: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stream = create(tmp_path / "unmeasured")
    submit(stream, 0)

    def damaged(*_: Any, **__: Any) -> None:
        raise CorruptObject("the test split is damaged")

    monkeypatch.setattr(steps, "evaluate", damaged)
    with pytest.raises(ApdError, match=rf"^learned, but not measured: {FIRST} \(the test split is damaged\)$"):
        run(stream.url)
    assert [entry.name for entry in stream.head().entries] == [FIRST]
    assert Failures(stream.objects).of(FIRST) == []


def test_a_run_whose_consolidation_somebody_else_makes_does_not_make_another(
    learned: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stream, commit = rewound(copy(learned, tmp_path / "overtaken")), steps.commit_consolidation

    def overtaken(url: str, proposal: Any) -> int:
        monkeypatch.setattr(steps, "commit_consolidation", commit)
        consolidate(url, publish=False)
        return commit(url, proposal)

    monkeypatch.setattr(steps, "commit_consolidation", overtaken)
    assert run(stream.url) == []
    assert [version.kind for version in stream.log()] == ["consolidate", "learn", "learn", "learn", "create"]
