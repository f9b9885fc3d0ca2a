"""Work pool, deployments and automations on a Prefect server: made or updated; twice is the same as once."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from prefect import get_client
from prefect.automations import AutomationCore
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from apd.errors import ApdError, ConfigError
from apd.store import normal_url
from flows.operations.automations import automations

CHECKOUT = Path(__file__).parent.parent.parent
BLOCK = "apd-alerts"
SCHEDULED = "run/scheduled"
"""The deployment by which one tells whose deployments they are."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is on the server now."""

    pool: str
    deployments: tuple[str, ...]
    automations: tuple[str, ...]


def setup(stream: str, pool: str, notify: str | None = None, replace: bool = False) -> Outcome:
    """Set up the server that Prefect is configured for.

    notify: URL that alerts are posted to, as JSON with `subject` and `body`; None leaves the one from before. replace:
    take the deployments from another stream or pool that they work on. Raises ConfigError where they do, and not that,
    and where prefect.yaml is not at hand; ApdError with Prefect's own words when deploying fails.
    """
    if not get_current_settings().api.url:
        raise ConfigError("no Prefect server is configured: set PREFECT_API_URL, for example to what `apd up` prints")
    with get_client(sync_client=True) as client:
        if not replace:
            _check_whose(client, stream, pool)
        _make_pool(client, pool)
        _deploy({"APD_STREAM": stream, "APD_WORK_POOL": pool})
        alerts = _set_alerts(client, notify)
        return Outcome(pool, _deployed(client, pool), alerts)


def set_alerts(notify: str) -> None:
    """Post alerts to this URL from now on; the rest of what `setup` has made stays as it is."""
    with get_client(sync_client=True) as client:
        _set_alerts(client, notify)


def _set_alerts(client: SyncPrefectClient, notify: str | None) -> tuple[str, ...]:
    """Make the automations; returns their names."""
    made = automations(_notifier(client, notify))
    for automation in made:
        _make(client, automation)
    return tuple(one.name for one in made)


def _check_whose(client: SyncPrefectClient, stream: str, pool: str) -> None:
    """Raise ConfigError when the server's deployments, of which it has one set, work on another stream or pool."""
    try:
        found = client.read_deployment_by_name(SCHEDULED)
    except ObjectNotFound:
        return
    theirs = str(found.parameters.get("stream"))
    if (theirs.rstrip("/"), found.work_pool_name) != (normal_url(stream), pool):
        raise ConfigError(
            f"the deployments on this Prefect server work on stream {theirs} in work pool {found.work_pool_name}, not "
            f"on stream {stream} in work pool {pool}; give this stream a Prefect server of its own, or move them here "
            "with --replace (`apd prefect setup --replace`, `infra/deploy --replace`), after which nothing is started "
            "on the other by the clock"
        )


def _deployed(client: SyncPrefectClient, pool: str) -> tuple[str, ...]:
    flows = {flow.id: flow.name for flow in client.read_flows()}
    there = (one for one in client.read_deployments() if one.work_pool_name == pool)
    return tuple(sorted(f"{flows[one.flow_id]}/{one.name}" for one in there))


def _make_pool(client: SyncPrefectClient, name: str) -> None:
    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))


def _deploy(environment: Mapping[str, str]) -> None:
    if not (CHECKOUT / "prefect.yaml").exists():
        raise ConfigError(
            f"the deployments are described by the prefect.yaml of a checkout; there is none in {CHECKOUT}"
        )
    command = (sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all")
    ended = subprocess.run(
        command, cwd=CHECKOUT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise ApdError(f"`prefect deploy --all` failed:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")


def _notifier(client: SyncPrefectClient, url: str | None) -> UUID | None:
    """The block that posts notifications to the URL; the one there is when no URL is given."""
    if url:
        message = {"subject": "{{subject}}", "body": "{{body}}"}
        block = CustomWebhookNotificationBlock(name=BLOCK, url=url, json_data=message, headers=None, cookies=None)
        return UUID(str(block.save(BLOCK, overwrite=True)))
    try:
        return client.read_block_document_by_name(BLOCK, "custom-webhook").id
    except ObjectNotFound:
        return None


def _make(client: SyncPrefectClient, automation: AutomationCore) -> None:
    there = client.read_automations_by_name(automation.name)
    if there:
        client.update_automation(there[0].id, automation)
    else:
        client.create_automation(automation)
