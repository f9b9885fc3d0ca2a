"""Runs that died without a word, and what is done about them: the only means, and one that forgets nothing.

A run sends a heartbeat every half minute (prefect.yaml). One that is silent for longer than three has died with nobody
left to report it: its process was killed together with the worker, or its machine is gone. The server would show it as
running for ever. So every run of `run/scheduled`, which the clock starts every few minutes, first ends those.

Runs and heartbeats are in the server's database. Prefect's own means, an automation that waits for the next heartbeat,
loses what it waits for: an update of the automation gives its trigger another identity, by which what it counted is no
longer found, and what ran out a minute ago while the server was down is swept away unseen.
"""

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect import get_client, get_run_logger, runtime
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import SetStateStatus
from prefect.events.filters import EventFilter
from prefect.states import Cancelled, Crashed

from apd.errors import ConfigError

VARIABLE = "APD_SILENCE"
SILENCE = 90.0
"""Seconds, where the variable is not set: three heartbeats."""

UNDER_WAY = {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}


def end_silent(stream: str) -> None:
    """Mark the silent runs of all deployments as Crashed, with all that ran in them; have what they left taken up.

    The run that calls this takes up what was left on its own stream; another one is started for any other stream. A
    run that was being cancelled is marked as Cancelled, and nobody goes on. Does nothing outside a deployment.
    """
    deployment = runtime.deployment.id
    if deployment is None:
        return
    with get_client(sync_client=True) as client:
        ended = [run for run in _under_way(client) if not alive(client, run) and _end(client, run)]
        for run in ended:
            get_run_logger().warning("ended %s: no sign of life for %g s", run.name, silence().total_seconds())
        for url in _left(ended) - {stream}:
            client.create_flow_run_from_deployment(UUID(str(deployment)), parameters={"stream": url})


def alive(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Whether its state changed, or it sent a heartbeat, a short while ago."""
    now = datetime.now(UTC)
    since, ahead = now - silence(), now + timedelta(days=1)  # another machine's clock may be ahead of ours
    if run.state and run.state.timestamp > since:
        return True
    heartbeats = {
        "event": {"name": ["prefect.flow-run.heartbeat"]},
        "resource": {"id": [f"prefect.flow-run.{run.id}"]},
        "occurred": {"since": since.isoformat(), "until": ahead.isoformat()},
    }
    return bool(client.read_events(filter=EventFilter.model_validate(heartbeats), limit=1).events)


def silence() -> timedelta:
    """How long a run may be silent. Raises ConfigError when APD_SILENCE is no number of seconds."""
    given = os.environ.get(VARIABLE, str(SILENCE))
    try:
        return timedelta(seconds=float(given))
    except (ValueError, OverflowError):
        raise ConfigError(f"{VARIABLE}={given!r} should be a number of seconds, such as {SILENCE:g}") from None


def _under_way(client: SyncPrefectClient, **only: Any) -> list[FlowRun]:
    """Runs of our deployments that should be doing something; or those that `only` describes."""
    chosen = only or {"tags": {"all_": ["apd"]}, "deployment_id": {"is_null_": False}}
    return client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate({"state": UNDER_WAY, **chosen}))


def _end(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Give the runs in it, its steps and last the run itself a final state; False when it came to one meanwhile."""
    why = f"no sign of life for {silence().total_seconds():g} s: its process or machine is gone"
    cancelled = run.state is not None and run.state.is_cancelling()
    final: State[Any] = Cancelled(message=why) if cancelled else Crashed(message=why)
    for child in _under_way(client, parent_flow_run_id={"any_": [run.id]}):
        _end(client, child)
    within = FlowRunFilter.model_validate({"id": {"any_": [run.id]}})
    under_way = TaskRunFilter.model_validate({"state": UNDER_WAY})
    for step in client.read_task_runs(flow_run_filter=within, task_run_filter=under_way):
        client.set_task_run_state(step.id, final)
    return client.set_flow_run_state(run.id, final).status == SetStateStatus.ACCEPT


def _left(ended: Iterable[FlowRun]) -> set[str]:
    """Streams on which work was left undone."""
    crashed = (run for run in ended if not (run.state and run.state.is_cancelling()))
    return {run.parameters["stream"] for run in crashed if run.parameters.get("stream")}
