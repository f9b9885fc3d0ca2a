"""The example that turns a bucket's notifications into events."""

import importlib.util
from pathlib import Path

import pytest

from flows.operations.services import PORTS

FILE = Path(__file__).parent.parent.parent / "infra" / "prefect" / "notifier.py"


@pytest.fixture(scope="module")
def notifier():
    spec = importlib.util.spec_from_file_location("notifier", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def notification(key: str, bucket: str = "apd", event: str = "ObjectCreated:Put") -> dict:
    return {"Records": [{"eventName": event, "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}]}


@pytest.mark.parametrize(
    ("message", "folders"),
    [
        (notification("stream/inbox/shoes/task.json"), ["shoes"]),
        (notification("stream/inbox/winter+shoes/task.json"), ["winter shoes"]),
        (notification("stream/inbox/shoes/train.parquet"), []),
        (notification("other/inbox/shoes/task.json"), []),
        (notification("stream/inbox/shoes/task.json", bucket="other"), []),
        (notification("stream/inbox/shoes/task.json", event="ObjectRemoved:Delete"), []),
        ({"Event": "s3:TestEvent"}, []),
    ],
)
def test_only_a_complete_task_of_the_stream_is_an_arrival(notifier, message, folders):
    assert notifier.arrived(message, "s3://apd/stream") == folders


def test_its_usual_port_is_none_that_an_installation_takes(notifier):
    assert notifier.PORT not in {*PORTS.values(), PORTS["s3"] + 1}
