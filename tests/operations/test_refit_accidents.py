"""sigma is learned again when an event says that it is due, and goes on after every accident, to the same bits."""

import dataclasses
import signal
from pathlib import Path

import pytest
from installation import config, submit, wait_until

from apd.config import NetworkConfig
from apd.data import NamedTask
from apd.joint import JointTask
from apd.networks import from_config
from apd.refit import refit
from apd.store import Stream
from apd.store.attempts import REFIT
from apd.store.records import theta_key
from apd.store.upkeep import verify
from tests.actors.small import accept_all, epochs_saved, learn_here

pytestmark = pytest.mark.operations


@pytest.fixture
def due(tmp_path: Path, gate: Path, tasks: list[NamedTask]) -> Stream:
    """One learned task and one that waits; with both, sigma is learned again, for as long as the test likes."""
    settings = config(network=NetworkConfig("tests.operations.held:network", {"gate": str(gate)}))
    consolidation = dataclasses.replace(settings.consolidation, refit=True, max_accuracy_drop=1.0)
    url = tmp_path / f"refit-{tmp_path.name.replace('_', '-')}"
    stream = Stream.create(str(url), dataclasses.replace(settings, consolidation=consolidation))
    gate.touch()
    for task in tasks[:2]:
        submit(stream, task, tmp_path)
        accept_all(stream)
    learn_here(stream, tasks[0].name)
    stream.clear_attempt(tasks[0].name)
    return stream


def consolidation(installed, stream: Stream) -> str | None:
    """Return the id of the newest consolidation of the stream, by whatever it was started."""
    deployment = installed.deployment("consolidate/nightly")["id"]
    return next(
        (one["id"] for one in reversed(installed.of_stream(stream)) if one["deployment_id"] == deployment), None
    )


def wait_for_training(installed, stream: Stream, run: str, before: int = 0) -> None:
    """Return when the run has trained beyond that epoch, and waits."""
    wait_until(lambda: epochs_saved(stream, REFIT) > before, 120, lambda: installed.logs(run))
    assert installed.actors("Refitter")


def undisturbed(stream: Stream) -> list[str]:
    """Return what the tasks would be after a refit in one go, as digests of their parameters."""
    entries = stream.head().entries
    tasks = [JointTask(entry.name, len(entry.classes), stream.load_data(entry.name)) for entry in entries]
    before = [stream.load_entry(entry) for entry in entries]
    found = refit(from_config(stream.config), before, tasks, stream.config.learning)
    return [theta_key(task) for task in found.tasks]


def test_cancelled_and_killed_it_goes_on_to_the_bits_of_one_that_nobody_disturbed(installed, due, gate, tasks):
    second = tasks[1].name
    learned = installed.start("learn/manual", stream=due.url, task=second)
    wait_until(lambda: due.head().has(second), 120, lambda: installed.logs(learned))
    gate.unlink()
    cancelled = wait_until(lambda: consolidation(installed, due))
    wait_for_training(installed, due, cancelled)
    assert installed.run_of(cancelled)["parameters"]["only_if_due"]
    installed.api("POST", f"/flow_runs/{cancelled}/set_state", {"state": {"type": "CANCELLING"}})
    assert installed.finished(cancelled) == "Cancelled"
    wait_until(lambda: not installed.actors("Refitter"), 20)

    before, killed = epochs_saved(due, REFIT), installed.start("consolidate/nightly", stream=due.url, only_if_due=True)
    wait_for_training(installed, due, killed, before)
    installed.process_of(killed).send(signal.SIGKILL)
    assert installed.finished(killed) == "Crashed"
    wait_until(lambda: not installed.actors("Refitter"), 20)
    assert [version.kind for version in due.log()] == ["learn", "learn", "create"]

    gate.touch()
    expected = undisturbed(due)
    finished = installed.start("consolidate/nightly", stream=due.url, only_if_due=True)
    assert installed.finished(finished) == "Completed"
    assert due.head().details["refit"]
    assert [entry.theta_key for entry in due.head().entries] == expected
    assert not [listed.key for listed in due.objects.list("attempts/")]
    assert verify(due).problems == ()
