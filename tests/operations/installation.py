"""What an operator does with an installation: commands, the API, accidents; and small streams to do it with."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from apd.config import (
    AcceptanceConfig,
    ConsolidationConfig,
    LearningConfig,
    NetworkConfig,
    ResourceConfig,
    StreamConfig,
)
from apd.data import NamedTask
from apd.store import Stream
from flows.operations.processes import Process, Processes

ROOT = Path(__file__).parent.parent.parent

IMPATIENT = {
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
    "PREFECT_SERVER_CONCURRENCY_MAXIMUM_CONCURRENCY_SLOT_WAIT_SECONDS": "2",
}


PATIENCE = 90
"""Seconds for an answer: a write waits up to 60 for another one to let go of SQLite."""

NETWORK = NetworkConfig("mlp", {"hidden": [16]})


@dataclass(frozen=True)
class Installed:
    """An installation that is up."""

    home: Path
    environment: dict[str, str]
    """Of a shell that talks to it."""

    @property
    def processes(self) -> Processes:
        return Processes(self.home)

    def apd(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command; what it prints is kept."""
        return run("-c", "from flows.cli import main; main()", *arguments, environment=self.environment, check=check)

    def prefect(self, *arguments: str) -> str:
        """Run Prefect's command; return what it prints."""
        return run("-m", "prefect", "--no-prompt", *arguments, environment=self.environment).stdout

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the server; return its JSON."""
        data = None if body is None else json.dumps(body).encode()
        url = self.environment["PREFECT_API_URL"] + path
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        for pause in (1, 2, 4, None):
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                    return json.loads(answer.read() or b"null")
            except urllib.error.HTTPError as error:
                if error.code != 503 or pause is None:  # 503: SQLite is busy
                    raise
                time.sleep(pause)
        raise AssertionError("the loop returns or raises")

    def deployment(self, name: str) -> dict[str, Any]:
        flow, deployed = name.split("/")
        return self.api("GET", f"/deployments/name/{flow}/{deployed}")

    def start(
        self, deployment: str, variables: dict[str, str] | None = None, command: str | None = None, **parameters: Any
    ) -> str:
        """Start a run, with these variables in its environment, by this command or Prefect's own; return its id."""
        job = {"env": variables or {}} | ({"command": command} if command else {})
        body = {"parameters": parameters, "job_variables": job, "state": {"type": "SCHEDULED"}}
        return self.api("POST", f"/deployments/{self.deployment(deployment)['id']}/create_flow_run", body)["id"]

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        """Return flow runs, oldest first: `runs(tags={"all_": [...]})`."""
        body = {"flow_runs": filters, "sort": "START_TIME_ASC"}
        return self.api("POST", "/flow_runs/filter", body)

    def run_of(self, identity: str) -> dict[str, Any]:
        return self.api("GET", f"/flow_runs/{identity}")

    def state(self, identity: str) -> str:
        """Return `Completed`, `Crashed`, ... as the UI shows it."""
        return self.run_of(identity)["state"]["name"]

    def finished(self, identity: str, seconds: float = 240) -> str:
        """Wait until a run has ended; return its state. Clients that missed the server wait up to 64 s."""
        final = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
        wait_until(lambda: self.run_of(identity)["state_type"] in final, seconds, lambda: self.logs(identity))
        return self.state(identity)

    def logs(self, identity: str) -> str:
        body = {"logs": {"flow_run_id": {"any_": [identity]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        return "\n".join(line["message"] for line in self.api("POST", "/logs/filter", body))

    def events(self, name: str) -> list[dict[str, Any]]:
        return self.api("POST", "/events/filter", {"filter": {"event": {"name": [name]}}})["events"]

    def service(self, name: str) -> Process:
        """Return the process of a service that was there first; runs come and go beside the worker's."""
        return min(self.processes.members(name), key=lambda one: one.started)

    def actors(self, kind: str = "Trainer") -> list[int]:
        """Return the processes of Ray in which an actor of that kind is at work."""
        members = self.processes.members("ray")
        return [one.pid for one in members if f"ray::{kind}" in command_of(one.pid)]

    def process_of(self, identity: str) -> Process:
        """Return the process of a run that is under way."""
        mark = f"PREFECT__FLOW_RUN_ID={identity}".encode()
        found = [one for one in self.processes.members("worker") if mark in environment_of(one.pid)]
        return min(found, key=lambda one: one.started)

    def cpus_in_use(self) -> float:
        """Return how many of Ray's CPUs are given to actors; Ray looks every few seconds."""
        settings = json.loads((self.home / "installation.json").read_text())
        url = f"http://127.0.0.1:{settings['ports']['ray dashboard']}/api/cluster_status"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {settings['token']}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            status = json.loads(answer.read())["data"]["clusterStatus"]
        return status["loadMetricsReport"]["usage"]["CPU"][0]

    def of_stream(self, stream: Stream) -> list[dict[str, Any]]:
        """Return the runs of deployments on a stream, oldest first."""
        found = self.runs(deployment_id={"is_null_": False})
        return [one for one in found if one["parameters"].get("stream") == stream.url]

    def artifact(self, key: str) -> dict[str, Any]:
        return self.api("GET", f"/artifacts/{key}/latest")


def command_of(pid: int) -> str:
    """Return a process's title; nothing for one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def environment_of(pid: int) -> list[bytes]:
    """Return a process's variables as it was started; none for one that has ended."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def run(*arguments: str, environment: dict[str, str], check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own."""
    ended = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    if check and ended.returncode:
        pytest.fail(f"{arguments} exited with {ended.returncode}: {ended.stdout}{ended.stderr}")
    return ended


def wait_until(holds: Callable[[], Any], seconds: float = 120, explain: Callable[[], str] = str) -> Any:
    """Return what `holds` returns as soon as that is something; fail after the time."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > end:
            pytest.fail(f"still not so after {seconds:g} s\n{explain()}")
        time.sleep(0.25)
    return found


def exported(printed: str) -> dict[str, str]:
    """Return the variables of lines `export NAME=VALUE`."""
    lines = (line.removeprefix("export ") for line in printed.splitlines() if line.startswith("export "))
    return dict(line.split("=", 1) for line in lines)


def config(network: NetworkConfig = NETWORK, acceptance: AcceptanceConfig | None = None) -> StreamConfig:
    """Return settings for small pictures of digits; an epoch takes some hundredths of a second."""
    return StreamConfig(
        input_shape=(1, 8, 8),
        network=network,
        acceptance=acceptance or AcceptanceConfig(),
        learning=LearningConfig(epochs=6, batch_size=64, capacity_per_task=0.1),
        consolidation=ConsolidationConfig(consolidate_every=2, clusters_per_round=1),
        resources=ResourceConfig(save_every=0),
    )


def submit(stream: Stream, task: NamedTask, folder: Path) -> str:
    """Write a task folder and put it into the inbox; return the task's name."""
    task.write(folder / task.name)
    stream.inbox.submit(folder / task.name)
    return task.name
