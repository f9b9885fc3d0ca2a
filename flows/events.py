"""What happens to a stream, told to Prefect as events, so that automations can answer to it.

    apd.task.arrived              folders are complete in the inbox          tasks
    apd.task.learned              it is part of a version                    task, version, accuracy
    apd.task.refused              it stays below what the stream demands     task, reasons, report
    apd.consolidation.due         enough tasks were learned since the last
    apd.consolidation.committed   it is part of a version                    version
    apd.consolidation.refused     it would cost a task too much              reasons, report

The resource of each is `apd.stream.<stream>`, named as in the keys of artifacts; the payload holds the stream's URL as
`stream`, and the facts named above.
"""

from typing import Any

import httpx
from prefect import get_client
from prefect.events import Event, Resource, emit_event
from prefect.exceptions import PrefectHTTPStatusError

from apd.store import normal_url, stream_name
from flows.names import stream_key

ARRIVED = "apd.task.arrived"
LEARNED = "apd.task.learned"
TASK_REFUSED = "apd.task.refused"
DUE = "apd.consolidation.due"
COMMITTED = "apd.consolidation.committed"
REFUSED = "apd.consolidation.refused"


def tell(event: str, url: str, **facts: Any) -> None:
    """Send an event from inside a run, which it is then related to; in the background, and never an error."""
    emit_event(event, _resource(url), payload=_payload(url, facts))


def announce_arrival(url: str, folders: list[str]) -> bool:
    """Send one `apd.task.arrived` from outside any run, at once; False when Prefect does not answer."""
    event = Event(event=ARRIVED, resource=Resource(_resource(url)), payload=_payload(url, {"tasks": folders}))
    try:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=[event.model_dump(mode="json")])
    except (httpx.HTTPError, PrefectHTTPStatusError):
        return False
    return True


def _resource(url: str) -> dict[str, str]:
    return {"prefect.resource.id": f"apd.stream.{stream_key(url)}", "prefect.resource.name": stream_name(url)}


def _payload(url: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {"stream": normal_url(url), **facts}
