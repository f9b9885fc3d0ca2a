"""A task that fails in the stream's own network: the others are learned, and it is not tried for ever."""

import dataclasses
import tempfile
from pathlib import Path

import pytest
import torch

from apd.config import NetworkConfig
from apd.data import NamedTask
from apd.errors import ApdError
from apd.overview import build_report
from apd.store import Stream
from apd.store.failures import LIMIT, Failures
from apd.store.upkeep import verify
from flows.dashboards import stream_page
from flows.run import run
from tests.flows.command import apd, mistake
from tests.flows.small_tasks import bits, create, digits, names, submit

FIRST = names(1)[0]
REASON = "ValueError: nothing but black pictures"


@pytest.fixture
def stream(engines: None, tmp_path: Path) -> Stream:
    """The first task that waits makes the network fail; the second does not."""
    network = NetworkConfig("tests.flows.own_code:fragile", {"mended": str(tmp_path / "mended")})
    made = create(tmp_path / "fragile", network=network)
    submit_black(made)
    submit(made, 0)
    return made


def submit_black(stream: Stream) -> None:
    """Digits that nobody has written."""
    data = digits()[0].data
    black = dataclasses.replace(data.train, inputs=torch.zeros_like(data.train.inputs))
    with tempfile.TemporaryDirectory() as scratch:
        NamedTask("black", digits()[0].classes, dataclasses.replace(data, train=black)).write(Path(scratch) / "black")
        stream.inbox.submit(Path(scratch) / "black")


def test_the_others_are_learned_and_it_is_left_out_after_a_while_until_somebody_asks(stream: Stream, tmp_path: Path):
    failures = Failures(stream.objects)
    with pytest.raises(ApdError, match=rf"still waiting: black \({REASON}\)"):
        run(stream.url)
    assert list(bits(stream)) == [FIRST]
    assert failures.of("black") == [REASON]
    assert f"failed 1 time, tried again by the next run: {REASON}" in apd("tasks", "-s", stream.url).stdout

    for _ in range(1, LIMIT):
        with pytest.raises(ApdError, match="still waiting: black"):
            run(stream.url, publish=False)
    assert failures.of("black") == [REASON] * LIMIT
    assert run(stream.url) == []
    assert f"left out until `apd retry`: {REASON}" in apd("tasks", "-s", stream.url).stdout
    page = stream_page(stream, build_report(stream, stream.head()), "")
    assert f"- **left out**: black: {REASON}; `apd retry black` lets it try again" in page.splitlines()
    assert verify(stream).problems == ()

    (tmp_path / "mended").touch()
    assert "no task 'shoes' waits" in mistake("retry", "shoes", "-s", stream.url)
    assert "the next run tries black again" in apd("retry", "black", "-s", stream.url).stdout
    assert run(stream.url, publish=False) == ["black"]
    assert list(bits(stream)) == [FIRST, "black"]
    assert failures.of("black") == []
    assert verify(stream).problems == ()
