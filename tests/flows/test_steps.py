"""Which trouble of a step is tried again, and which is not."""

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from prefect import flow

from apd.errors import StateError, Unreachable
from flows.run import result_of
from flows.steps import first_done, step


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
