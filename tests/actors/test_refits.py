"""sigma learned again on a real Ray of several nodes, and by `run`."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from apd.actors import propose_refit
from apd.config import ConsolidationConfig
from apd.decomposition import bare_state
from apd.joint import JointTask
from apd.networks import from_config
from apd.refit import refit
from apd.state import Consolidation
from apd.store import Stream
from apd.store.records import theta_key
from apd.store.upkeep import verify
from flows.run import run
from tests.actors import small

pytestmark = pytest.mark.usefixtures("nodes", "no_actor_left")
REFIT = ConsolidationConfig(consolidate_every=3, refit=True, refit_epochs=2, max_accuracy_drop=1.0)


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    return Stream.create(str(tmp_path / "stream"), replace(small.config(max_parallel=3), consolidation=REFIT))


def test_a_refit_by_several_actors_has_the_bits_of_one_in_one_process(stream: Stream) -> None:
    names = [small.accept(stream, number) for number in range(3)]
    for name in names:
        small.learn_here(stream, name)
    lines: list[str] = []
    found = propose_refit(stream, stream.head().number, lines.append)
    assert lines == ["sigma learned from 3 tasks together", *(f"{name} learned again on top of it" for name in names)]

    expected, entries = in_this_process(stream), stream.head().entries
    proposal = stream.write_consolidation(expected, base=stream.head())
    assert [one.theta_key for one in found.entries] == [one.theta_key for one in proposal.entries]
    assert [one.theta_key for one in found.entries] != [one.theta_key for one in entries]
    assert found.message == proposal.message
    assert found.details | {"seconds": None, "blobs": {}} == proposal.details | {"seconds": None, "blobs": {}}
    reports = [stream.records.read_json("consolidation", one.details["blobs"]["report"]) for one in (found, proposal)]
    assert reports[0]["parameters"] == reports[1]["parameters"]
    for mine, task in zip(found.entries, expected.tasks, strict=True):
        state = stream.load_entry(mine)
        assert all(torch.equal(value, bare_state(state)[name]) for name, value in bare_state(task).items())
    stream.commit_consolidation(found)
    statistics = [stream.records.read_statistics(one.statistics) for one in (found, proposal)]
    assert all(torch.equal(value, statistics[1][name]) for name, value in statistics[0].items())
    assert verify(stream).problems == ()


def in_this_process(stream: Stream) -> Consolidation:
    entries = stream.head().entries
    tasks = [JointTask(entry.name, 3, small.task(number).data) for number, entry in enumerate(entries)]
    before = [stream.load_entry(entry) for entry in entries]
    return refit(from_config(stream.config), before, tasks, stream.config.learning, epochs=REFIT.refit_epochs)


def saved(stream: Stream) -> dict[str, float]:
    """What training of a refit left behind, and when."""
    return {item.key: item.modified for item in stream.objects.list("attempts/") if "_refit" in item.key}


def test_a_refit_that_was_cut_off_goes_on_where_it_was(stream: Stream) -> None:
    for number in range(3):
        small.learn_here(stream, small.accept(stream, number))
    base, said = stream.head().number, list[str]()

    def stop_after_the_first_task(line: str) -> None:
        said.append(line)
        if "on top" in line:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        propose_refit(stream, base, stop_after_the_first_task)
    before = saved(stream)
    assert said == ["sigma learned from 3 tasks together", "task-0 learned again on top of it"]
    done = [f"attempts/{name}/snapshot.safetensors" for name in ("_refit", "_refit.task-0")]
    found = propose_refit(stream, base, said.append)
    after = saved(stream)
    assert [after[key] for key in done] == [before[key] for key in done]  # neither is trained again
    assert len(after) == 4
    assert [one.theta_key for one in found.entries] == [theta_key(task) for task in in_this_process(stream).tasks]
    stream.commit_consolidation(found)
    assert not saved(stream)
    assert verify(stream).problems == ()


def test_run_learns_sigma_again_when_that_is_due_and_no_later_task_starts_before(stream: Stream) -> None:
    for number in range(5):
        small.submit(stream, number)
    run(stream.url, publish=False)
    kinds = [(version.kind, version.details.get("refit")) for version in stream.log(newest_first=False)]
    learned = ("learn", None)
    assert kinds == [("create", None), learned, learned, learned, ("consolidate", True), learned, learned]
    assert [entry.based_on for entry in stream.head().entries] == [0, 1, 1, 4, 4]
    first, *others = (stream.load_entry(entry).sigma for entry in stream.head().entries)
    assert all(torch.equal(first[name], other[name]) for other in others for name in first)
    assert verify(stream).problems == ()
