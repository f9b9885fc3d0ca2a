"""How Prefect answers to events, beside the two triggers of prefect.yaml (learn on arrival, consolidate when due).

A run sends a heartbeat every half minute (prefect.yaml). One that is silent for longer has died without a word: its
process was killed together with the worker, or its machine is gone. The server would show it as running for ever.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.automations import (
    AutomationCore,
    ChangeFlowRunState,
    DoNothing,
    EventTrigger,
    Posture,
    RunDeployment,
    SendNotification,
)
from prefect.client.schemas.objects import StateType

from flows.events import REFUSED, TASK_REFUSED

SILENCE = timedelta(seconds=90)
"""Three heartbeats."""

FLOW_RUNS: dict[str, str | list[str]] = {"prefect.resource.id": "prefect.flow-run.*"}
OURS: dict[str, str | list[str]] = {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.apd"}
FINAL = ("Completed", "Failed", "TimedOut", "Crashed", "Cancelled", "Cancelling", "Paused", "Suspended")

SAME_STREAM: dict[str, Any] = {"stream": "{{ flow_run.parameters.stream }}"}
RUN = "{{ flow_run.name }}: {{ flow_run.state.name }}"
RUN_DETAILS = "{{ flow_run.state.message }}\n\n{{ flow_run|ui_url }}"
REFUSAL = "{{ event.payload.stream }}: the head stays as it is"
REFUSAL_DETAILS = "{{ event.payload.reasons|join('\\n') }}\n\n{{ event.payload.report }}"


def automations(scheduled: UUID, notifier: UUID | None) -> list[AutomationCore]:
    """All of them. scheduled: the deployment that learns what waits; notifier: the block that takes notifications."""
    return [
        zombies(scheduled),
        alert("apd: alert on failure", failures(), RUN, RUN_DETAILS, notifier),
        alert("apd: alert on refusal", refusals(), REFUSAL, REFUSAL_DETAILS, notifier),
    ]


def zombies(scheduled: UUID) -> AutomationCore:
    """Mark a run that fell silent as crashed; a new one goes on where the last attempt was saved."""
    trigger = EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{state}" for state in FINAL)},
        match=FLOW_RUNS,
        match_related=OURS,
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=SILENCE,
    )
    message = f"no sign of life for {SILENCE.seconds} s: its process or machine is gone"
    return AutomationCore(
        name="apd: end zombies",
        description="Mark a run without a heartbeat as crashed and start another one, which goes on where it was.",
        trigger=trigger,
        actions=[
            ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=message, force=False),
            RunDeployment(source="selected", deployment_id=scheduled, parameters=SAME_STREAM, job_variables=None),
        ],
    )


def failures() -> EventTrigger:
    """A run of a deployment ended badly."""
    return EventTrigger(
        expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed", "prefect.flow-run.TimedOut"},
        match=FLOW_RUNS,
        match_related=OURS,
        posture=Posture.Reactive,
        threshold=1,
    )


def refusals() -> EventTrigger:
    """A gate kept something from becoming the head."""
    return EventTrigger(expect={REFUSED, TASK_REFUSED}, posture=Posture.Reactive, threshold=1)


def alert(name: str, trigger: EventTrigger, subject: str, body: str, notifier: UUID | None) -> AutomationCore:
    """Send a notification; without anybody to notify, only leave a trace in the event feed."""
    action = SendNotification(block_document_id=notifier, subject=subject, body=body) if notifier else DoNothing()
    description = "Send a notification." if notifier else "Nobody is notified: `apd prefect setup --notify URL`."
    return AutomationCore(name=name, description=description, trigger=trigger, actions=[action])
