"""Every kind of place a stream can live in."""

import uuid
from pathlib import Path

import pytest

from apd.store import Stream
from apd.store.connect import connect
from apd.store.objects import Objects
from tests.store.samples import CONFIG

PLACES = ("folder", "memory", "moto_server", "ceph")


@pytest.fixture(params=PLACES)
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place of every kind in turn; servers are reached through the standard AWS environment."""
    if request.param == "folder":
        return str(tmp_path / "stream")
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    server = request.getfixturevalue(request.param)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"{server.bucket()}/stream"


@pytest.fixture
def objects(url: str) -> Objects:
    return connect(url)


@pytest.fixture
def stream(url: str) -> Stream:
    return Stream.create(url, CONFIG)
