"""Which trouble of a step is tried again, and which is not."""

import time

import pytest
from prefect import flow

from apd.errors import StateError, Unreachable
from flows.steps import step


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
