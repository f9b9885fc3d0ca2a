"""`apd up --s3 --database --notify` beside another installation: Ceph, PostgreSQL, a bucket's notification, alerts."""

import contextlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator

import pytest
from installation import ROOT, Installed, config, exported, run, submit, wait_until
from postgres import free_port, postgres

from apd.config import AcceptanceConfig
from apd.store import Stream

pytestmark = [pytest.mark.operations, pytest.mark.timeout(900)]

NOTIFIER = ROOT / "infra" / "prefect" / "notifier.py"


class Listener(http.server.BaseHTTPRequestHandler):
    """Whoever is to be alerted."""

    heard: list[dict[str, str]] = []

    def do_POST(self) -> None:
        self.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def alerts() -> Iterator[str]:
    """URL that a test's alerts are posted to."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def everything(installed, alerts, tmp_path) -> Iterator[Installed]:
    """A second installation on the machine."""
    if not all(map(shutil.which, ("radosgw", "ceph-osd", "ceph-mon"))):
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up("a real S3 server needs Debian's radosgw, ceph-mon and ceph-osd: infra/setup-system installs them")
    before = {**installed.environment, "APD_HOME": str(tmp_path / "home")}
    for name in ("PREFECT_API_URL", "APD_STREAM", "APD_WORK_POOL"):
        del before[name]
    command = ("-c", "from flows.cli import main; main()")
    with postgres() as url:
        try:
            printed = run(*command, "up", "--s3", "--database", url, "--notify", alerts, environment=before).stdout
            yield Installed(tmp_path / "home", before | exported(printed))
        finally:
            run(*command, "down", environment=before)


def storage_options(environment: dict[str, str]) -> dict[str, str]:
    """The same, for a stream that is opened in this process."""
    return {
        "endpoint_url": environment["AWS_ENDPOINT_URL"],
        "key": environment["AWS_ACCESS_KEY_ID"],
        "secret": environment["AWS_SECRET_ACCESS_KEY"],
    }


@contextlib.contextmanager
def notifier(environment: dict[str, str], stream: str) -> Iterator[str]:
    """Run infra/prefect/notifier.py; yield the URL that a bucket's notifications go to."""
    port = free_port()
    command = [sys.executable, NOTIFIER, stream, str(port)]
    with subprocess.Popen(command, env={**os.environ, **environment}) as process:
        try:
            wait_until(lambda: listens(port))
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def notify(url: str, bucket: str, key: str) -> None:
    """Post what a bucket posts when an object was created."""
    record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}
    with urllib.request.urlopen(url, json.dumps({"Records": [record]}).encode(), timeout=60) as answer:
        assert answer.status == 200


def subjects() -> list[str]:
    return [one["subject"] for one in Listener.heard]


def test_a_refused_task_is_alerted_of_and_can_be_accepted(everything, installed, tasks, tmp_path):
    mine, theirs = everything.environment, installed.environment
    assert mine["PREFECT_API_URL"] != theirs["PREFECT_API_URL"]
    settings = tmp_path / "home" / "installation.json"
    assert json.loads(settings.read_text())["database"].startswith("postgresql+asyncpg://")
    demanding = config(acceptance=AcceptanceConfig(min_accuracy=1.0))
    stream = Stream.create(mine["APD_STREAM"], demanding, storage_options=storage_options(mine))
    task = tasks[0]
    submit(stream, task, tmp_path)
    with notifier(mine, stream.url) as url:
        notify(url, "apd", f"stream/inbox/{task.name}/task.json")

    wait_until(lambda: "Refused" in {one["state"]["name"] for one in everything.of_stream(stream)}, 120)
    assert not stream.head().entries
    wait_until(lambda: any("the head stays as it is" in one for one in subjects()), 30)

    accepted = everything.start("learn/manual", stream=stream.url, task=task.name, if_refused="accept")
    assert everything.finished(accepted) == "Completed"
    assert stream.head().has(task.name)

    failed = everything.start("learn/manual", stream=stream.url, task="nobody")
    assert everything.finished(failed) == "Failed"
    wait_until(lambda: any(one.endswith(": Failed") for one in subjects()), 30)

    before = {name: installed.service(name) for name in ("server", "ray", "worker")}
    assert everything.apd("down").stdout == "ended: worker, ray, server, s3\n"
    assert {name: installed.service(name) for name in before} == before
    assert not [one for name in ("worker", "ray", "server", "s3") for one in everything.processes.members(name)]
