"""Which trouble of a step is tried again, and which is not."""

import dataclasses
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect import flow
from prefect.logging import disable_run_logger

from apd.config import StreamConfig
from apd.data import TaskInfo, pack_arrays, validate_task
from apd.errors import CorruptObject, StateError, Unreachable
from apd.store import Stream
from apd.store.arrivals import claim_key
from apd.store.failures import CONSOLIDATION, LIMIT, Failures
from apd.store.submission import ObjectFolder
from flows import events, steps
from flows.run import result_of
from flows.steps import announce_when_due, find_arrivals, first_done, note_failure, step
from tests.flows.small_tasks import copy, create, names, rewound, submit


def test_storage_that_is_away_or_hangs_is_tried_again(prefect: None):
    tries = []

    @step("struggle", retries=3, delay=0.1, timeout=1.0)
    def struggle() -> str:
        tries.append(len(tries))
        if len(tries) == 1:
            raise Unreachable("the server is away")
        while len(tries) == 2:
            time.sleep(0.05)
        return "done"

    @flow
    def work() -> str:
        return struggle()

    assert work() == "done"
    assert tries == [0, 1, 2]


def test_a_mistake_is_not_tried_again(prefect: None):
    tries = []

    @step("mistake", retries=3, delay=0.1)
    def mistake() -> None:
        tries.append(len(tries))
        raise StateError("sigma has another shape")

    @flow
    def work() -> None:
        mistake()

    with pytest.raises(StateError):
        work()
    assert tries == [0]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("wait", [lambda training: first_done([training]), result_of])
def test_an_interrupt_that_another_thread_was_given_ends_the_wait_for_a_step(prefect: None, wait: Callable[[Any], Any]):
    over = threading.Event()

    @step("last", timeout=None)
    def last() -> None:
        over.wait()

    @flow
    def work() -> str:
        training = last.submit()
        threading.Timer(0.2, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            wait(training)
        over.set()
        return "interrupted"

    assert work() == "interrupted"


def test_the_first_of_several_steps_to_be_done_is_found(prefect: None):
    over = threading.Event()

    @step("last", timeout=None)
    def last() -> str:
        over.wait()
        return "last"

    @step("first", timeout=None)
    def first() -> str:
        return "first"

    @flow
    def work() -> list[str]:
        steps = [last.submit(), first.submit()]
        found = first_done(steps).result()
        over.set()
        return [found, first_done(steps[:1]).result()]

    assert work() == ["first", "last"]


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Stream]:
    """Empty; its steps are called as functions, outside any run."""
    with disable_run_logger():
        yield create(tmp_path / "stream")


@pytest.mark.parametrize("moment", ["before it is read", "after it was read"])
def test_a_folder_that_another_run_accepts_meanwhile_is_not_rejected(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, moment: str
):
    """As when the schedules of `run` and `ingest` meet."""

    def overtaken(folder: ObjectFolder, config: StreamConfig) -> TaskInfo:
        info = validate_task(folder, config)
        Stream.open(stream.url).inbox.accept(names(1)[0], info)
        return info if moment == "after it was read" else validate_task(folder, config)

    submit(stream, 0)
    monkeypatch.setattr(steps, "validate_task", overtaken)
    assert find_arrivals.fn(stream.url) == []
    assert [one.task for one in stream.inbox.waiting()] == names(1)
    assert (stream.inbox.rejected(), stream.inbox.complete(), stream.inbox.incomplete()) == ({}, [], [])


def test_inputs_of_a_size_that_is_hard_to_learn_from_are_accepted_with_a_warning(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    logger = logging.getLogger("heard")
    heard: list[str] = []
    monkeypatch.setattr(logger, "warning", lambda text, *values: heard.append(text % values))
    monkeypatch.setattr(steps, "get_run_logger", lambda: logger)
    sensors = Stream.create(str(tmp_path / "sensors"), dataclasses.replace(stream.config, input_dtype="float32"))
    pressure = np.random.default_rng(0).normal(1000, 12, (40, 1, 8, 8))
    sensors.inbox.submit(packed(tmp_path / "pressure", pressure))
    sensors.inbox.submit(packed(tmp_path / "scaled", (pressure - 1000) / 12))
    assert find_arrivals.fn(sensors.url) == ["pressure", "scaled"]
    [line] = heard
    assert line.startswith("pressure: inputs are about 1e+03 in size")


def packed(folder: Path, inputs: np.ndarray) -> Path:
    pack_arrays(folder, folder.name, (inputs, np.arange(len(inputs)) % 2))
    return folder


def test_a_folder_that_cannot_be_dealt_with_does_not_hold_up_the_others(stream: Stream):
    first, second = (submit(stream, number) for number in range(2))
    stream.objects.put(claim_key(first), b"damaged")
    assert find_arrivals.fn(stream.url) == [second]
    assert stream.inbox.complete() == [first]
    with pytest.raises(CorruptObject):
        stream.inbox.registration(first)


def test_a_failure_of_a_task_that_was_forgotten_meanwhile_is_not_held_against_the_next_of_its_name(stream: Stream):
    assert not note_failure.fn(stream.url, "shoes", "no task 'shoes' has arrived")
    assert Failures(stream.objects).of("shoes") == []
    assert note_failure.fn(stream.url, CONSOLIDATION, "it ran out of memory")
    assert Failures(stream.objects).of(CONSOLIDATION) == ["it ran out of memory"]


def test_a_consolidation_that_is_due_is_announced_until_it_has_failed_too_often(
    learned: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stream, told = rewound(copy(learned, tmp_path / "due")), list[str]()
    monkeypatch.setattr(events, "tell", lambda event, url: told.append(event))
    for _ in range(LIMIT):
        announce_when_due.fn(stream.url)
        Failures(stream.objects).add(CONSOLIDATION, "it ran out of memory")
    assert told == [events.DUE] * LIMIT
    announce_when_due.fn(stream.url)
    assert told == [events.DUE] * LIMIT


def test_storage_that_is_away_is_no_matter_of_one_folder(stream: Stream, monkeypatch: pytest.MonkeyPatch):
    def away(*_: object) -> TaskInfo:
        raise Unreachable("the server is away")

    submit(stream, 0)
    monkeypatch.setattr(steps, "validate_task", away)
    with pytest.raises(Unreachable):
        find_arrivals.fn(stream.url)
