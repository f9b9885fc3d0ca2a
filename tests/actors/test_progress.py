"""What people see of a training while it goes on."""

from pathlib import Path

import pytest
from prefect import get_client

from apd.store import Stream
from flows.names import artifact_key, stream_key
from tests.actors import small
from tests.actors.conftest import learning, wait_until

pytestmark = pytest.mark.usefixtures("nodes", "no_actor_left")


def bar(stream: Stream, task: str) -> float:
    """Where the newest progress bar of the task stands, 0 to 100."""
    wanted = {
        "artifacts": {"key": {"any_": [artifact_key("progress", stream_key(stream.url), task)]}},
        "sort": "CREATED_DESC",
    }
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/artifacts/filter", json=wanted).json()
    return float(found[0]["data"]) if found else 0.0


def lines(text: str) -> list[str]:
    """Log lines of all flows and tasks that have this text."""
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/logs/filter", json={"limit": 200, "sort": "TIMESTAMP_DESC"}).json()
    return [line["message"] for line in found if text in line["message"]]


def test_epochs_reach_log_and_progress_bar_while_the_task_is_still_trained(holding: Path, tmp_path: Path) -> None:
    stream = Stream.create(str(tmp_path / "followed"), small.config(small.held_network(holding, 1)))
    task = small.accept(stream, 0)
    with learning(stream):
        wait_until(lambda: 0 < bar(stream, task) < 100)
        wait_until(lambda: bool(lines(f"{task}: epoch 1/{small.EPOCHS}  loss ")))
        assert stream.head().entries == ()
        holding.rmdir()
    assert bar(stream, task) == 100
    wait_until(lambda: bool(lines(f"{task}: epoch {small.EPOCHS}/{small.EPOCHS}  loss ")))
