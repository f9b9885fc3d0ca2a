"""A consolidation that cannot be done: the tasks that wait are learned all the same, and it is made up for."""

import dataclasses
from pathlib import Path

import pytest

from apd.overview import build_report, consolidation_left_out
from apd.store import Stream
from apd.store.failures import CONSOLIDATION, LIMIT, Failures
from apd.store.upkeep import verify
from flows.dashboards import stream_page
from flows.run import run
from tests.flows.command import apd
from tests.flows.small_tasks import CONFIG, create, names, submit

FIRST = names(1)[0]
DATA = f"tasks/{FIRST}/train.parquet"


@pytest.fixture
def damaged(engines: None, tmp_path: Path) -> Stream:
    """One task is learned; before sigma is learned again from its data, a byte of them flips."""
    consolidation = dataclasses.replace(CONFIG.consolidation, consolidate_every=2, refit=True)
    stream = create(tmp_path / "damaged", consolidation=consolidation)
    submit(stream, 0)
    assert run(stream.url) == [FIRST]
    flip(stream)
    return stream


def flip(stream: Stream) -> None:
    """Flip a byte in the middle of the data; twice is as before."""
    data = bytearray(stream.objects.read(DATA))
    data[len(data) // 2] ^= 255
    stream.objects.put(DATA, bytes(data))


def test_later_tasks_are_learned_and_no_run_tries_it_for_ever_until_the_data_are_whole(damaged: Stream):
    for number in (1, 2):
        submit(damaged, number)
    failures = Failures(damaged.objects)
    for _ in range(2, LIMIT):
        failures.add(CONSOLIDATION, "as by earlier runs")
    said = apd("run", "-s", damaged.url, code=1).stderr
    assert [(version.kind, len(version.entries)) for version in damaged.log()][:2] == [("learn", 3), ("learn", 2)]
    last = said.splitlines()[-1]
    assert "not consolidated, later tasks are learned all the same: " in last
    assert f"the data of task {FIRST!r} in {damaged.url}/tasks/{FIRST} are damaged: train.parquet is not" in last
    assert f"put back what was there (`apd verify` names every file that has changed), or `apd forget {FIRST}`" in last
    assert said.count("not consolidated: ") == 1
    assert damaged.inbox.waiting() == []
    assert [problem for problem in verify(damaged).problems if DATA not in problem] == []

    assert f"consolidation has failed {LIMIT - 1} of {LIMIT} times" in said
    failures.add(CONSOLIDATION, failures.of(CONSOLIDATION)[-1])
    said = apd("run", "-s", damaged.url).stderr
    assert "consolidation is left out, it failed too often; `apd consolidate` tries again: the data of task" in said
    assert "left out until `apd consolidate`: the data of task" in apd("status", "-s", damaged.url).stdout
    page = stream_page(damaged, build_report(damaged, damaged.head()), "")
    assert "- next consolidation: **left out**, it failed too often: the data of task" in page
    assert DATA in "".join(verify(damaged).problems)

    flip(damaged)
    assert run(damaged.url) == []
    apd("consolidate", "-s", damaged.url)
    assert damaged.head().details["refit"]
    assert consolidation_left_out(damaged) is None
    assert verify(damaged).problems == ()
