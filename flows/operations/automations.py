"""How Prefect answers to events, beside the two triggers of prefect.yaml (learn on arrival, consolidate when due).

What ends a run that fell silent is no automation, which would lose count of it: see flows/silent.py.
"""

from uuid import UUID

from prefect.automations import (
    AutomationCore,
    DoNothing,
    EventTrigger,
    Posture,
    SendNotification,
)

from flows.events import REFUSED, TASK_REFUSED

FLOW_RUNS: dict[str, str | list[str]] = {"prefect.resource.id": "prefect.flow-run.*"}
OURS: dict[str, str | list[str]] = {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.apd"}

RUN = "{{ flow_run.name }}: {{ flow_run.state.name }}"
RUN_DETAILS = "{{ flow_run.state.message }}\n\n{{ flow_run|ui_url }}"
REFUSAL = "{{ event.payload.stream }}: the head stays as it is"
REFUSAL_DETAILS = "{{ event.payload.reasons|join('\\n') }}\n\n{{ event.payload.report }}"


def automations(notifier: UUID | None) -> list[AutomationCore]:
    """All of them. notifier: the block that takes notifications."""
    return [
        alert("apd: alert on failure", failures(), RUN, RUN_DETAILS, notifier),
        alert("apd: alert on refusal", refusals(), REFUSAL, REFUSAL_DETAILS, notifier),
    ]


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
