"""A run among the others on the server: its tags, its name, and whether another one is at work already.

All of it is for people and to save work. Nothing relies on it: the store's commit is the lock.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from prefect import get_client, runtime
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.events.filters import EventFilter
from prefect.states import Completed

from apd.store import stream_name

SILENCE = timedelta(seconds=90)
"""Three heartbeats: a run that has been silent for longer has died without a word."""


def label(stream: str, task: str | None = None) -> None:
    """Tag this run by its stream, and by its task where it has one."""
    wanted = [*runtime.flow_run.tags, f"stream:{stream_name(stream)}"] + ([f"task:{task}"] if task else [])
    with get_client(sync_client=True) as client:
        client.update_flow_run(_own_id(), tags=sorted(set(wanted)))


def name_version(number: int) -> None:
    """Add to this run's name which version it made: `learn-digits-rot90-v7`."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_name(_own_id(), f"{runtime.flow_run.name}-v{number}")


def at_work(stream: str) -> str | None:
    """Name of an older run of the same deployment that works on the stream and shows signs of life, if any."""
    deployment = runtime.deployment.id
    if deployment is None:
        return None
    filters = {"deployment_id": {"any_": [deployment]}, "state": {"type": {"any_": ["RUNNING"]}}}
    with get_client(sync_client=True) as client:
        running = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(filters))
        same = [run for run in running if run.parameters.get("stream") == stream]
        [own] = [run for run in same if run.id == _own_id()]
        return next((run.name for run in same if _age(run) < _age(own) and _alive(client, run)), None)


def skipped(why: str) -> Any:
    """What a flow returns to end without having done anything."""
    return Completed(name="Skipped", message=why)


def _own_id() -> UUID:
    return UUID(cast(str, runtime.flow_run.id))


def _age(run: FlowRun) -> tuple[datetime, str]:
    """Orders runs by their start; no two are equal."""
    return run.start_time or datetime.max.replace(tzinfo=UTC), str(run.id)


def _alive(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Whether it began, or sent a heartbeat, a short while ago."""
    since = datetime.now(UTC) - SILENCE
    if run.start_time and run.start_time > since:
        return True
    heartbeats = {
        "event": {"name": ["prefect.flow-run.heartbeat"]},
        "resource": {"id": [f"prefect.flow-run.{run.id}"]},
        "occurred": {"since": since.isoformat()},
    }
    return bool(client.read_events(filter=EventFilter.model_validate(heartbeats), limit=1).events)
