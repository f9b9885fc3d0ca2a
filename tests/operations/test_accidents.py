"""Cancelled, killed, cut off, started twice: the task is learned once, and the server ends up telling the truth."""

import json
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from installation import command_of, config, submit, wait_until

from apd.config import NetworkConfig
from apd.store import Stream
from apd.store.upkeep import verify

pytestmark = pytest.mark.operations

SILENCE = 20.0
"""Seconds after which the test takes a run for dead. Heartbeats come every 30, but beside the dead none is at work."""

HURRIED = f"{sys.executable} -m tests.operations.hurried"
"""Command of a run that finds out within seconds that its lease is lost."""

OUTAGE = 15.0
"""Seconds for which the server does not answer: longer than the first retries of Prefect's client."""


@pytest.fixture
def held(tmp_path, gate) -> Stream:
    """A stream whose tasks train for as long as the test likes."""
    network = NetworkConfig("tests.operations.held:network", {"gate": str(gate)})
    return Stream.create(str(tmp_path / f"held-{tmp_path.name.replace('_', '-')}"), config(network=network))


@pytest.fixture
def training(installed, held, tasks, tmp_path) -> str:
    """A run of the scheduled deployment in the middle of training; its id."""
    submit(held, tasks[0], tmp_path)
    run = installed.start("run/scheduled", stream=held.url)
    wait_until(lambda: held.load_attempt(tasks[0].name), 120, lambda: installed.logs(run))
    assert installed.actors()
    return run


def assert_learned_once(stream: Stream, task: str) -> None:
    """One version, whole, and nothing is left of the attempts."""
    assert [(version.kind, len(version.entries)) for version in stream.log()] == [("learn", 1), ("create", 0)]
    assert stream.head().has(task)
    assert stream.load_attempt(task) is None
    assert verify(stream).problems == ()


def steps_of(installed, run: str) -> dict[str, str | None]:
    """Return the state of every step of a run and of the runs in it, as the UI shows them."""
    body = {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}}
    within = [run, *(one["id"] for one in installed.api("POST", "/flow_runs/filter", body))]
    found = installed.api("POST", "/task_runs/filter", {"task_runs": {"flow_run_id": {"any_": within}}})
    return {f"{one['name']}": one["state"] and one["state"]["name"] for one in found}  # none yet of one just begun


def test_a_cancelled_run_frees_its_actor_and_the_next_goes_on_where_it_was(installed, held, gate, training, tasks):
    installed.api("POST", f"/flow_runs/{training}/set_state", {"state": {"type": "CANCELLING"}})
    wait_until(lambda: installed.state(training) == "Cancelled", 60, lambda: installed.logs(training))
    wait_until(lambda: not installed.actors(), 20)
    wait_until(lambda: installed.cpus_in_use() == 0, 20)
    assert held.load_attempt(tasks[0].name)
    assert not held.head().entries
    gate.touch()
    again = installed.start("run/scheduled", stream=held.url)
    assert installed.finished(again) == "Completed"
    assert "epoch 1/" not in installed.logs(again)
    assert_learned_once(held, tasks[0].name)


def last_heartbeat(installed, run: str) -> datetime:
    """Return when a run was last heard of."""
    resource = {"id": [f"prefect.flow-run.{run}"]}
    found = installed.api("POST", "/events/filter", {"filter": {"resource": resource}})["events"]
    return max(datetime.fromisoformat(one["occurred"]) for one in found)


def test_the_machine_dies_and_the_first_run_after_it_ends_what_was_running(
    installed, held, stream, gate, training, tasks
):
    """Nobody is left to report it: a run on any stream finds out by the missing heartbeats and has the task learned."""
    for service in ("worker", "ray", "server"):
        for one in installed.processes.members(service):
            one.send(signal.SIGKILL)
    gate.touch()
    installed.apd("up", "--stream", installed.environment["APD_STREAM"])
    assert installed.state(training) == "Running"
    wait_until(lambda: (datetime.now(UTC) - last_heartbeat(installed, training)).total_seconds() > SILENCE)
    finder = installed.start("run/scheduled", {"APD_SILENCE": str(SILENCE)}, stream=stream.url)
    assert installed.finished(finder) == "Completed"
    assert installed.state(training) == "Crashed"
    assert "no sign of life" in installed.run_of(training)["state"]["message"]
    assert "Running" not in steps_of(installed, training).values()
    again = wait_until(lambda: [one for one in installed.of_stream(held) if one["id"] != training], 120)[0]["id"]
    assert installed.finished(again) == "Completed"
    assert "epoch 1/" not in installed.logs(again)
    assert_learned_once(held, tasks[0].name)


def test_a_run_outlives_its_worker(installed, held, gate, training, tasks):
    [worker] = [one for one in installed.processes.members("worker") if "worker\0start" in command_of(one.pid)]
    worker.send(signal.SIGKILL)
    wait_until(lambda: not worker.alive)
    gate.touch()
    assert installed.finished(training) == "Completed"
    assert_learned_once(held, tasks[0].name)
    installed.apd("up", "--stream", installed.environment["APD_STREAM"])
    assert installed.state(training) == "Completed"
    nothing = installed.start("run/scheduled", stream=held.url)
    assert installed.finished(nothing) == "Completed"
    assert_learned_once(held, tasks[0].name)


def test_started_twice_and_the_server_killed_and_cut_off_during_training(installed, held, gate, training, tasks):
    payload = json.dumps({"stream": held.url})
    installed.prefect("event", "emit", "apd.task.arrived", "--resource-id", "apd.stream.held", "--payload", payload)
    second = wait_until(lambda: [one for one in installed.of_stream(held) if one["id"] != training], 120)[0]["id"]
    assert installed.finished(second) == "Skipped"
    assert "is at work" in installed.run_of(second)["state"]["message"]

    installed.service("server").send(signal.SIGKILL)
    installed.apd("up", "--stream", installed.environment["APD_STREAM"])
    answering = installed.processes.members("server")
    for one in answering:
        one.send(signal.SIGSTOP)
    gate.touch()
    try:
        wait_until(lambda: held.load_candidate(tasks[0].name) or held.head().entries, 120)
        time.sleep(OUTAGE)
    finally:
        for one in answering:
            one.send(signal.SIGCONT)
    assert installed.finished(training) == "Completed"
    wait_until(lambda: set(steps_of(installed, training).values()) == {"Completed"}, 30)
    assert_learned_once(held, tasks[0].name)


@pytest.fixture(params=["run/scheduled"])
def limited(request, installed) -> Iterator[str]:
    """A deployment of which an operator lets one run be under way at a time, by which each holds a lease; its name."""
    place = f"/deployments/{installed.deployment(request.param)['id']}"
    installed.api("PATCH", place, {"concurrency_limit": 1})
    yield request.param
    installed.api("PATCH", place, {"concurrency_limit": None})


def lease_of(installed, run: str) -> str:
    """Return the lease that a run was given when it started."""
    return installed.run_of(run)["state"]["state_details"]["deployment_concurrency_lease_id"]


def start_hurried(installed, deployment: str, stream: Stream, trained: str, **parameters: str) -> str:
    """Start a run that holds a lease; return its id when it is in the middle of training this task."""
    run = installed.start(deployment, command=HURRIED, stream=stream.url, **parameters)
    wait_until(lambda: stream.load_attempt(trained), 120, lambda: installed.logs(run))
    return run


def see_lease_lost(installed, run: str) -> None:
    """Wait for it to be in the run's log; a client that missed the server asks again after 2, 4, ... 64 s."""
    wait_until(lambda: "slots are no longer reserved" in installed.logs(run), 180, lambda: installed.logs(run))


def test_a_server_that_was_restarted_knows_no_leases_and_the_next_run_goes_on(
    installed, held, gate, limited, tasks, tmp_path
):
    first = start_hurried(installed, limited, held, submit(held, tasks[0], tmp_path))
    second = installed.start(limited, stream=held.url)
    wait_until(lambda: installed.state(second) == "AwaitingConcurrencySlot")
    installed.service("server").send(signal.SIGKILL)
    installed.apd("up", "--stream", installed.environment["APD_STREAM"])
    see_lease_lost(installed, first)
    assert installed.finished(first) == "Crashed"
    assert "Running" not in steps_of(installed, first).values()
    gate.touch()
    assert installed.finished(second) == "Completed"
    assert "epoch 1/" not in installed.logs(second)
    assert_learned_once(held, tasks[0].name)


@pytest.mark.parametrize("limited", ["learn/manual"], indirect=True)
def test_a_lease_runs_out_and_the_run_that_is_given_the_place_goes_on(installed, held, gate, limited, tasks, tmp_path):
    """The server gives it to the next, as it does when it did not hear of a run for as long as a lease lasts."""
    task = submit(held, tasks[0], tmp_path)
    assert installed.finished(installed.start("ingest/scheduled", stream=held.url)) == "Completed"
    first = start_hurried(installed, limited, held, task, task=task)
    installed.api("POST", "/v2/concurrency_limits/decrement-with-lease", {"lease_id": lease_of(installed, first)})
    second = installed.start(limited, stream=held.url, task=task)
    see_lease_lost(installed, first)
    assert installed.finished(first) == "Crashed"
    wait_until(lambda: len(installed.actors()) == 1, 120, lambda: installed.logs(second))
    gate.touch()
    assert installed.finished(second) == "Completed"
    assert_learned_once(held, task)
