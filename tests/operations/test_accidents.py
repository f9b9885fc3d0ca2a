"""Cancelled, killed, cut off, started twice: the task is learned once, and the server ends up telling the truth."""

import os
import signal

import pytest
from installation import command_of, submit, wait_until

pytestmark = pytest.mark.operations


@pytest.fixture
def training(installed, slow_stream, tasks, tmp_path):
    """A run of the scheduled deployment whose actor is training."""
    submit(slow_stream, tasks[0], tmp_path)
    run = installed.start("run/scheduled", stream=slow_stream.url)
    wait_until(lambda: slow_stream.load_attempt(tasks[0].name), 120, lambda: installed.logs(run))
    return run


def run_processes(installed) -> list[int]:
    """Return the processes of flow runs, without their worker."""
    members = installed.processes.members("worker")
    return [one.pid for one in members if "prefect.engine" in command_of(one.pid)]


def test_cancelling_stops_the_actor_and_the_next_run_goes_on(installed, slow_stream, training, tasks):
    assert installed.actors()
    installed.api("POST", f"/flow_runs/{training}/set_state", {"state": {"type": "CANCELLING"}})
    assert installed.finished(training) == "Cancelled"
    wait_until(lambda: not installed.actors(), 20)
    assert not slow_stream.head().entries
    assert slow_stream.load_attempt(tasks[0].name)
    again = installed.start("run/scheduled", stream=slow_stream.url)
    assert installed.finished(again) == "Completed"
    assert [entry.name for entry in slow_stream.head().entries] == [tasks[0].name]


def test_a_second_run_leaves_the_work_to_the_first(installed, slow_stream, training):
    second = installed.start("run/scheduled", stream=slow_stream.url)
    assert installed.finished(second) == "Skipped"
    assert "is at work" in installed.run_of(second)["state"]["message"]
    assert installed.finished(training) == "Completed"
    assert slow_stream.head().number == 1


def test_the_server_is_killed_during_training(installed, slow_stream, training):
    server = installed.processes.members("server")[0]
    server.send(signal.SIGKILL)
    installed.apd("up", "--stream", installed.environment["APD_STREAM"])
    assert installed.finished(training) == "Completed"
    assert slow_stream.head().number == 1
    assert "version 1" in installed.logs(training) + installed.artifact(f"report-{slow_stream.name}")["data"]


def test_worker_and_run_are_killed_at_once(installed, slow_stream, training):
    """Nobody is left to report it: the automation finds out by the missing heartbeat and starts another run."""
    [zombies] = [one for one in installed.api("POST", "/automations/filter", {}) if one["name"] == "apd: end zombies"]
    zombies["trigger"]["within"] = 35
    zombies["actions"][1]["parameters"] = {"stream": slow_stream.url}
    installed.api("PUT", f"/automations/{zombies['id']}", zombies)
    for one in installed.processes.members("worker"):
        os.kill(one.pid, signal.SIGKILL)
    wait_until(lambda: not installed.actors(), 30)
    installed.apd("up", "--stream", installed.environment["APD_STREAM"])
    assert installed.finished(training, 150) == "Crashed"
    assert "no sign of life" in installed.run_of(training)["state"]["message"]
    wait_until(lambda: slow_stream.head().number == 1, 120)
    assert len(slow_stream.head().entries) == 1
