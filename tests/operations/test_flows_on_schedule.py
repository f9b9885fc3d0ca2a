"""prefect.yaml on a real server: what was deployed, what a schedule and an event start, what an operator sees of it."""

import contextlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from installation import submit, wait_until

from flows.names import stream_key

pytestmark = pytest.mark.operations

DEPLOYMENTS = {
    "run/scheduled",
    "consolidate/nightly",
    "ingest/scheduled",
    "learn/manual",
    "evaluate/manual",
    "forget/manual",
    "report/manual",
    "benchmark/manual",
}

ACTIVE = {
    "run/scheduled": ["every-five-minutes"],
    "ingest/scheduled": ["every-quarter-of-an-hour"],
    "consolidate/nightly": ["every-night"],
}
"""What runs by the clock unless an operator switches to the other schedules, which are there and at rest."""


@contextlib.contextmanager
def scheduled(installed, deployment: str, schedule: dict[str, Any], **parameters: Any) -> Iterator[None]:
    """Add a schedule to a deployment, as the UI does; it goes with the block."""
    place = f"/deployments/{installed.deployment(deployment)['id']}/schedules"
    [added] = installed.api("POST", place, [{"schedule": schedule, "parameters": parameters, "active": True}])
    try:
        yield
    finally:
        installed.api("DELETE", f"{place}/{added['id']}")


def begun(installed, stream, deployment: str) -> dict[str, Any] | None:
    """Return the first run of a deployment on the stream that has begun, None before that."""
    wanted = installed.deployment(deployment)["id"]
    of_it = [one for one in installed.of_stream(stream) if one["deployment_id"] == wanted]
    return next((one for one in of_it if one["start_time"]), None)


def begun_at_night(installed, stream) -> tuple[dict[str, Any], list[str]]:
    """Return a nightly run and when it may begin: within seconds, by a cron expression with them as a sixth field.

    Where the server was too busy to plan or to start it soon, there is another night.
    """
    nights = list[str]()
    while True:
        night = datetime.now(UTC) + timedelta(seconds=12)
        nights.append(f"{night:%Y-%m-%dT%H:%M:%S}")
        cron = {"cron": f"{night.minute} {night.hour} * * * {night.second}", "timezone": "UTC"}
        with scheduled(installed, "consolidate/nightly", cron, stream=stream.url, only_if_due=True):
            while datetime.now(UTC) < night + timedelta(seconds=30):
                if found := begun(installed, stream, "consolidate/nightly"):
                    return found, nights
                time.sleep(0.25)


def announce(installed, stream) -> None:
    """Send the event that `apd submit` sends."""
    payload = json.dumps({"stream": stream.url})
    installed.prefect("event", "emit", "apd.task.arrived", "--resource-id", "apd.stream.digits", "--payload", payload)


def test_every_parameter_of_every_form_is_typed_and_described(installed):
    for name in DEPLOYMENTS:
        form = installed.deployment(name)["parameter_openapi_schema"]["properties"]
        assert all(field["description"] for field in form.values()), name
        assert all("type" in field or "anyOf" in field for field in form.values()), name


def test_schedules_are_there_and_one_of_each_deployment_is_active(installed):
    for name in DEPLOYMENTS:
        schedules = installed.deployment(name)["schedules"]
        assert [one["slug"] for one in schedules if one["active"]] == ACTIVE.get(name, []), name
    at_rest = [one for one in installed.deployment("ingest/scheduled")["schedules"] if not one["active"]]
    assert [one["schedule"]["cron"] for one in at_rest] == ["*/10 6-20 * * 1-5"]


def test_no_run_depends_on_a_lease(installed):
    """Prefect ends a run that cannot renew the lease which a concurrency limit gave it; so there is no limit."""
    pool = installed.api("GET", f"/work_pools/{installed.environment['APD_WORK_POOL']}")
    assert pool["concurrency_limit"] is None
    for name in DEPLOYMENTS:
        deployment = installed.deployment(name)
        assert (deployment["concurrency_limit"], deployment["global_concurrency_limit"]) == (None, None), name
    assert installed.api("POST", "/v2/concurrency_limits/filter", {}) == []


def test_setup_again_changes_nothing(installed):
    def automations():
        return {(one["name"], one["enabled"]) for one in installed.api("POST", "/automations/filter", {})}

    before = automations()
    assert {name for name, _ in before} == {
        "apd: learn on arrival",
        "apd: consolidate when due",
        "apd: alert on failure",
        "apd: alert on refusal",
    }
    installed.apd("prefect", "setup")
    assert automations() == before
    assert len(installed.api("POST", "/automations/filter", {})) == len(before)


def test_a_schedule_learns_what_lies_in_the_inbox(installed, stream, tasks, tmp_path):
    names = [submit(stream, task, tmp_path) for task in tasks[:2]]
    soon = {"interval": 120, "anchor_date": (datetime.now(UTC) + timedelta(seconds=5)).isoformat()}
    with scheduled(installed, "run/scheduled", soon, stream=stream.url):
        wait_until(lambda: len(stream.head().entries) == 2, 200)
    [first] = installed.runs(tags={"all_": ["apd", f"stream:{stream.name}"]})
    assert installed.finished(first["id"]) == "Completed"
    assert first["auto_scheduled"]
    assert first["name"] == f"run-{stream.name}"
    assert [entry.name for entry in stream.head().entries] == names
    see_artifacts(installed, stream)
    page = {"artifacts": {"key": {"any_": [f"stream-{stream_key(stream.url)}"]}}}
    for shown in installed.api("POST", "/artifacts/filter", page):
        installed.api("DELETE", f"/artifacts/{shown['id']}")
    assert installed.finished(installed.start("run/scheduled", stream=stream.url)) == "Completed"
    assert page_of(installed, stream)["data"].startswith(f"# {stream.name}")
    use_by_hand(installed, stream)


def page_of(installed, stream):
    return wait_until(lambda: installed.artifact(f"stream-{stream_key(stream.url)}"))


def use_by_hand(installed, stream):
    """What an operator starts from the UI."""
    looks = [installed.start(name, stream=stream.url) for name in ("evaluate/manual", "report/manual")]
    assert [installed.finished(run) for run in looks] == ["Completed", "Completed"]
    gone, kept = (entry.name for entry in stream.head().entries)
    assert installed.finished(installed.start("forget/manual", stream=stream.url, task=gone)) == "Completed"
    assert [entry.name for entry in stream.head().entries] == [kept]


def see_artifacts(installed, stream):
    """All that an operator looks at, under keys that stay."""
    key = stream_key(stream.url)
    table = json.loads(installed.artifact(f"accuracy-{key}")["data"])
    assert [row["task"] for row in table] == [entry.name for entry in stream.head().entries]
    measured = [stream.evaluations.get(entry.theta_key)["test_accuracy"] for entry in stream.head().entries]
    assert [row["now"] for row in table] == [f"{100 * accuracy:.1f}" for accuracy in measured]
    assert all(row["change"] for row in table)
    page = page_of(installed, stream)["data"]
    assert page.startswith(f"# {stream.name}")
    assert "waiting to be learned: **0**" in page
    assert json.loads(installed.artifact(f"capacity-{key}")["data"])[0]["tasks"] == 2
    assert json.loads(installed.artifact(f"clusters-{key}")["data"])
    assert "file://" in installed.artifact(f"report-{key}")["data"]
    for entry in stream.head().entries:
        assert installed.artifact(f"progress-{key}-{entry.name}")["data"] == 100


def test_an_event_starts_a_run_and_the_nightly_run_does_nothing_before_its_time(installed, stream, tasks, tmp_path):
    name = submit(stream, tasks[0], tmp_path)
    announce(installed, stream)
    found, nights = begun_at_night(installed, stream)
    wait_until(lambda: stream.head().has(name), 120)
    assert installed.finished(found["id"]) == "Completed"
    assert found["auto_scheduled"]
    assert found["expected_start_time"][:19] in nights
    assert [version.kind for version in stream.log()] == ["learn", "create"]


def test_until_there_is_a_stream_what_the_clock_starts_says_what_to_do(installed):
    runs = [installed.start(deployment) for deployment in ACTIVE]
    for run in runs:
        assert installed.finished(run) == "Skipped"
        assert "apd init" in installed.run_of(run)["state"]["message"]


def test_submit_announces_and_consolidation_follows(installed, stream, tasks, tmp_path):
    """`apd submit` is enough for arrival, learning and, after two tasks, consolidation."""
    for task in tasks[:2]:
        task.write(tmp_path / task.name)
    folders = [str(tmp_path / task.name) for task in tasks[:2]]
    assert "announced" in installed.apd("submit", *folders, "--stream", stream.url).stdout
    wait_until(lambda: stream.head().kind == "consolidate" or stream.refusals.consolidations(stream.head().number), 150)
