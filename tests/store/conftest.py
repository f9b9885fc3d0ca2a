"""Every kind of place a stream can live in, and small learned tasks to put there."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from apd.store import Stream
from apd.store.connect import connect
from apd.store.objects import Objects
from tests.store.samples import CONFIG

PLACES = ("folder", "memory", "s3")
BUCKET = "streams"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty prefix, reached through the standard AWS environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture(params=PLACES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place of every kind in turn."""
    if request.param == "folder":
        return str(tmp_path / "stream")
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return str(request.getfixturevalue("s3"))


@pytest.fixture
def objects(url: str) -> Objects:
    return connect(url)


@pytest.fixture
def stream(url: str) -> Stream:
    return Stream.create(url, CONFIG)
