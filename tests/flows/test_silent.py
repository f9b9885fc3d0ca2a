"""Runs that fell silent, on a real Prefect server: who is ended, how, and who goes on."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect import flow, get_client, task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.events import Event, Resource
from prefect.states import Cancelling, Pending, Running, Scheduled

from apd.errors import ConfigError
from flows.silent import end_silent, silence

SHORT = 0.5
"""Seconds a run may be silent here."""
MINE, OTHER = "/streams/mine", "/streams/other"


@flow
def work(stream: str) -> None:
    """Stands for any flow of a deployment."""


@task
def train() -> None:
    """Stands for a step."""


@flow
def check(stream: str) -> None:
    """Do what `run/scheduled` begins with."""
    end_silent(stream)


@pytest.fixture
def client(prefect: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as connected:
        yield connected


@pytest.fixture
def deployment(client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch) -> UUID:
    """A deployment of this test alone, which `check` believes to be run by."""
    made = client.create_deployment(client.create_flow(work), name=f"scheduled-{uuid4()}", tags=["apd"])
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", str(made))
    monkeypatch.setenv("APD_SILENCE", str(SHORT))
    return made


def started(client: SyncPrefectClient, deployment: UUID, state=None, stream: str = MINE) -> FlowRun:
    """Return a run that was last heard of when it took this state."""
    made = client.create_flow_run_from_deployment(deployment, parameters={"stream": stream})
    client.set_flow_run_state(made.id, state or Running())
    return made


def fall_silent() -> None:
    """Let the time pass in which a living run would have sent a heartbeat."""
    time.sleep(SHORT)


def beat(client: SyncPrefectClient, run: FlowRun) -> None:
    """Send a heartbeat as Prefect does; return when the server has it. It stays a fresh one for an hour."""
    resource = {"prefect.resource.id": f"prefect.flow-run.{run.id}"}
    later = datetime.now(UTC) + timedelta(hours=1)
    event = Event(event="prefect.flow-run.heartbeat", resource=Resource(resource), occurred=later)
    client.request("POST", "/events", json=[event.model_dump(mode="json")])
    since = datetime.now(UTC).isoformat()
    body = {"filter": {"id": {"id": [str(event.id)]}, "occurred": {"since": since, "until": later.isoformat()}}}
    while not client.request("POST", "/events/filter", json=body).json()["events"]:
        time.sleep(0.02)


def state_of(client: SyncPrefectClient, run: FlowRun) -> str:
    state = client.read_flow_run(run.id).state
    assert state
    return str(state.name)


def runs_on(client: SyncPrefectClient, deployment: UUID, stream: str) -> list[FlowRun]:
    found = client.read_flow_runs()
    return [run for run in found if run.deployment_id == deployment and run.parameters.get("stream") == stream]


def test_a_silent_run_is_ended_with_all_that_ran_in_it_and_the_caller_goes_on(client, deployment):
    running, waiting = started(client, deployment), started(client, deployment, Pending())
    step = client.create_task_run(train, running.id, dynamic_key="0", state=Running())
    child = client.create_flow_run(check, parent_task_run_id=step.id, parameters={"stream": MINE}, state=Running())
    fall_silent()
    check(MINE)
    assert {state_of(client, run) for run in (running, waiting, child)} == {"Crashed"}
    assert client.read_task_run(step.id).state_name == "Crashed"
    assert "no sign of life for 0.5 s" in client.read_flow_run(running.id).state.message
    assert len(runs_on(client, deployment, MINE)) == 2


def test_who_is_heard_of_or_has_ended_or_not_begun_or_is_not_ours_is_left_alone(client, deployment):
    beating, put_off = (started(client, deployment) for _ in range(2))
    due = client.create_flow_run_from_deployment(deployment, parameters={"stream": MINE})
    stranger = client.create_flow_run(work, parameters={"stream": MINE}, tags=["apd"], state=Running())
    client.set_flow_run_state(put_off.id, Scheduled())
    fall_silent()
    beat(client, beating)
    check(MINE)
    found = [state_of(client, run) for run in (beating, put_off, due, stranger)]
    assert found == ["Running", "Scheduled", "Scheduled", "Running"]


def test_one_that_began_a_short_while_ago_is_left_alone(client, deployment, monkeypatch):
    monkeypatch.setenv("APD_SILENCE", "600")
    young = started(client, deployment)
    check(MINE)
    assert state_of(client, young) == "Running"


def test_one_run_goes_on_for_all_that_died_on_another_stream(client, deployment):
    dead = [started(client, deployment, stream=OTHER) for _ in range(2)]
    fall_silent()
    check(MINE)
    check(MINE)
    assert [state_of(client, run) for run in dead] == ["Crashed", "Crashed"]
    [again] = [run for run in runs_on(client, deployment, OTHER) if run.id not in [one.id for one in dead]]
    assert state_of(client, again) == "Scheduled"


def test_one_that_died_while_it_was_cancelled_is_cancelled_and_nobody_goes_on(client, deployment):
    dying = started(client, deployment, stream=OTHER)
    client.set_flow_run_state(dying.id, Cancelling())
    fall_silent()
    check(MINE)
    assert state_of(client, dying) == "Cancelled"
    assert runs_on(client, deployment, OTHER) == [client.read_flow_run(dying.id)]


def test_outside_a_deployment_nobody_is_ended(client, deployment, monkeypatch):
    dead = started(client, deployment)
    monkeypatch.delenv("PREFECT__RUNTIME__DEPLOYMENT__ID")
    fall_silent()
    check(MINE)
    assert state_of(client, dead) == "Running"


def test_a_silence_that_is_no_number_is_refused(monkeypatch):
    monkeypatch.setenv("APD_SILENCE", "soon")
    with pytest.raises(ConfigError, match=r"APD_SILENCE='soon' should be a number of seconds"):
        silence()
