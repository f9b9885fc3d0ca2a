"""What others do to a stream while a run is at work on it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from apd.actors.workers import Trainer
from apd.errors import ApdError, CorruptObject, Forgotten
from apd.store import Stream
from apd.store.attempts import Attempts
from apd.store.failures import Failures
from flows import run as runs
from flows import steps
from flows.consolidate import consolidate
from flows.gates import check_task
from flows.ingest import ingest
from flows.run import run
from flows.steps import find_arrivals
from tests.flows.small_tasks import copy, create, demanding, digits, names, rewound, submit

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
                comes_again(stream, tmp_path)
            yield task, training

    monkeypatch.setattr(runs, "trainings", corrected)
    assert run(stream.url) == [FIRST]
    (entry,) = stream.head().entries
    assert (entry.name, entry.arrival) == (FIRST, 2)
    assert stream.task_info(FIRST).classes == digits()[1].classes
    assert stream.record(entry)["info"]["classes"] == list(digits()[1].classes)
    assert Failures(stream.objects).of(FIRST) == []


def comes_again(stream: Stream, scratch: Path) -> None:
    """The first task is forgotten, and another is submitted under its name."""
    stream.commit_forget(FIRST)
    replace(digits()[1], name=FIRST).write(scratch / FIRST)
    stream.inbox.submit(scratch / FIRST)


@pytest.mark.parametrize("moment", ["before its training", "as it begins"])
def test_a_task_that_is_forgotten_while_it_waits_is_no_failure(
    engines: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
):
    stream, decide = create(tmp_path / "shorter"), steps.decide_base
    for number in range(3):
        submit(stream, number)

    def forgotten(url: str, name: str) -> int | None:
        base = decide(url, name) if moment == "as it begins" or name != SECOND else None
        if name == SECOND:
            stream.commit_forget(SECOND)
        return base or decide(url, name)

    monkeypatch.setattr(steps, "decide_base", forgotten)
    assert run(stream.url) == [FIRST, THIRD]
    assert stream.inbox.waiting() == []
    assert list(stream.objects.list(f"attempts/{SECOND}/")) == []
    assert Failures(stream.objects).of(SECOND) == []


def test_a_gate_keeps_nothing_of_a_task_that_was_forgotten_and_comes_again(tmp_path: Path):
    stream = demanding(create(tmp_path / "refused"), min_accuracy=1.0)
    submit(stream, 0)
    with disable_run_logger():
        find_arrivals.fn(stream.url)
        *_, candidate = Trainer(stream.url).learn(FIRST, stream.begin_attempt(FIRST, 0))
        comes_again(stream, tmp_path)
        find_arrivals.fn(stream.url)
        with pytest.raises(Forgotten, match=f"'{FIRST}' was forgotten meanwhile"):
            check_task.fn(stream.url, candidate)
    assert stream.refusals.tasks() == set()
    assert [(one.task, one.number) for one in stream.inbox.waiting()] == [(FIRST, 2)]


def test_what_was_trained_for_another_arrival_of_the_name_is_not_taken(engines: None, tmp_path: Path):
    stream = create(tmp_path / "offered")
    submit(stream, 0)
    ingest(stream.url)
    *_, candidate = Trainer(stream.url).learn(FIRST, stream.begin_attempt(FIRST, 0))
    Attempts(stream.objects).offer(replace(candidate, arrival=7))
    assert run(stream.url) == [FIRST]
    (entry,) = stream.head().entries
    assert (entry.arrival, stream.head().watermark) == (1, 1)


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
