"""A run among the others on the server: its tags, its name, and whether another one is at work already.

All of it is for people and to save work. Nothing relies on it: the store's commit is the lock.
"""

from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from prefect import get_client, runtime
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed

from apd.store import stream_name
from flows.silent import alive


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
    """Which older run of the same deployment works on the stream and shows signs of life, if any."""
    deployment = runtime.deployment.id
    if deployment is None:
        return None
    filters = {"deployment_id": {"any_": [deployment]}, "state": {"type": {"any_": ["RUNNING"]}}}
    with get_client(sync_client=True) as client:
        running = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(filters))
        same = [run for run in running if run.parameters.get("stream") == stream]
        [own] = [run for run in same if run.id == _own_id()]
        older = [run.name for run in same if _age(run) < _age(own) and alive(client, run)]
    return f"{older[0]} is at work on this stream; it looks for what has arrived before it ends" if older else None


def skipped(why: str) -> Any:
    """What a flow returns to end without having done anything."""
    return Completed(name="Skipped", message=why)


def _own_id() -> UUID:
    return UUID(cast(str, runtime.flow_run.id))


def _age(run: FlowRun) -> tuple[datetime, str]:
    """Orders runs by their start; no two are equal."""
    return run.start_time or datetime.max.replace(tzinfo=UTC), str(run.id)
