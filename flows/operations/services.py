"""The services of an installation on one machine: what each is started with, and how one knows that it answers.

    s3        infra/s3/ceph, where one is asked for
    server    Prefect's API and UI
    ray       one node with its dashboard
    worker    Prefect's process worker, which starts the runs

All listen on 127.0.0.1, except that Ray's own ports cannot be kept there: they ask for a token.
"""

import contextlib
import json
import os
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apd.errors import ConfigError
from flows.console import ENVIRONMENT
from flows.operations.processes import Service

HOST = "127.0.0.1"
PORTS = {
    "server": 4200,
    "ray": 6379,
    "ray dashboard": 8265,
    "ray client": 10001,
    "ray agent": 52365,
    "ray metrics": 8080,
    "s3": 8000,
}
"""Where each would be looked for; another free port where it is taken."""

MEMORY = {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(30 * 24 * 3600),
}
"""For how long, in seconds, the server keeps runs and what they showed. The clock starts some 400 a day, of 0.2 MB each
while their events are there, which is a week; without an end its database would grow by gigabytes a year."""

CHECKOUT = Path(__file__).parent.parent.parent
CEPH = CHECKOUT / "infra" / "s3" / "ceph"
S3_KEYS = {"AWS_ACCESS_KEY_ID": "apd-local", "AWS_SECRET_ACCESS_KEY": "apd-local-secret"}
BUCKET = "apd"


@dataclass(frozen=True, slots=True)
class Installation:
    """What one installation consists of; kept in its folder."""

    home: str
    stream: str
    """URL of the stream that the deployments work on."""
    pool: str
    """Name of the work pool."""
    ports: Mapping[str, int]
    token: str
    """Without it, Ray answers nobody."""
    s3: bool = False
    """Whether a local S3 server belongs to it."""
    database: str | None = None
    """URL of Prefect's PostgreSQL database; None: SQLite in the folder."""

    @property
    def api(self) -> str:
        """URL of Prefect's API."""
        return f"http://{HOST}:{self.ports['server']}/api"

    @property
    def urls(self) -> dict[str, str]:
        """What a person opens or connects to."""
        found = {
            "Prefect": f"http://{HOST}:{self.ports['server']}",
            "Ray dashboard": f"http://{HOST}:{self.ports['ray dashboard']}",
        }
        return found | ({"S3": f"http://{HOST}:{self.ports['s3']}"} if self.s3 else {})

    @property
    def client_environment(self) -> dict[str, str]:
        """For a shell that talks to it."""
        variables = {"PREFECT_API_URL": self.api, "APD_STREAM": self.stream, "APD_WORK_POOL": self.pool}
        if self.s3:
            region = {"AWS_ENDPOINT_URL": self.urls["S3"], "AWS_DEFAULT_REGION": "us-east-1"}
            variables |= region | S3_KEYS
        return variables

    @property
    def environment(self) -> dict[str, str]:
        """For the services and what they start."""
        variables = ENVIRONMENT | {"PREFECT_SERVER_LOGGING_LEVEL": "WARNING"} | self.client_environment
        variables |= {"PREFECT_HOME": f"{self.home}/prefect", "RAY_ADDRESS": f"{HOST}:{self.ports['ray']}"}
        variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}
        variables |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
        if self.database:
            variables["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = self.database
        return variables


@contextlib.contextmanager
def reserved_ports(before: Mapping[str, int] | None = None) -> Iterator[dict[str, int]]:
    """The port of each service that it had before, or the usual one; another where somebody listens or is about to.

    Until the block ends, by when our services should listen, no other `up` on this machine is given one of them: each
    is held as a name of the kernel's that only one process can have and that goes with the process.
    """
    with contextlib.ExitStack() as held:
        yield {name: _reserve(port, held) for name, port in (PORTS | dict(before or {})).items()}


def services(installation: Installation) -> list[Service]:
    """In the order in which they are started; the worker comes last, when its deployments are there."""
    first = [s3(installation)] if installation.s3 else []
    return [*first, server(installation), ray(installation), worker(installation)]


def server(installation: Installation) -> Service:
    """Prefect's server."""
    port = installation.ports["server"]
    command = _python("prefect", "server", "start", "--host", HOST, "--port", str(port))
    # its UI asks wherever a browser reaches it, by a tunnel too
    variables = installation.environment | {"PREFECT_UI_API_URL": "/api"} | MEMORY
    return Service("server", command, variables, lambda: _get(f"{installation.api}/health") is True)


def ray(installation: Installation) -> Service:
    """A Ray head on this machine, with its dashboard."""
    ports = installation.ports
    options = {
        "port": ports["ray"],
        "dashboard-port": ports["ray dashboard"],
        "ray-client-server-port": ports["ray client"],
        "dashboard-agent-listen-port": ports["ray agent"],
        "metrics-export-port": ports["ray metrics"],
        "min-worker-port": 0,
        "max-worker-port": 0,
        "node-ip-address": HOST,
        "dashboard-host": HOST,
        "include-dashboard": True,
        "object-store-memory": 256 * 2**20,
        # its own, so that programs which look for "the" Ray of this machine do not find this one
        "temp-dir": f"{os.environ.get('RAY_TMPDIR') or tempfile.gettempdir()}/apd-ray-{installation.token[:8]}",
    }
    command = _python("ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats")
    command += tuple(f"--{name}={value}" for name, value in options.items())
    return Service(
        "ray", command, installation.environment, lambda: _listens(ports["ray"]) and _listens(ports["ray dashboard"])
    )


def worker(installation: Installation) -> Service:
    """A Prefect worker that starts each run as a process of its own."""
    name = f"apd-{installation.token[:8]}"
    command = _python("prefect", "worker", "start", "--pool", installation.pool, "--type", "process", "--name", name)
    found = f"{installation.api}/work_pools/{installation.pool}/workers/filter"
    return Service(
        "worker",
        command,
        installation.environment,
        lambda: any(one["name"] == name and one["status"] == "ONLINE" for one in _get(found, {}) or []),
    )


def s3(installation: Installation) -> Service:
    """A real S3 server on one disk."""
    if not CEPH.exists():
        raise ConfigError(f"the local S3 server is started by infra/s3/ceph of a checkout, and there is no {CEPH}")
    port = installation.ports["s3"]
    command = (str(CEPH), "serve", f"{installation.home}/s3", str(port))
    return Service("s3", command, {}, lambda: _listens(port))


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


def _reserve(port: int, held: contextlib.ExitStack) -> int:
    """The port, or any other one; nobody listens there, and nobody else holds it."""
    while not (_free(port) and _hold(port, held)):
        port = _any_free()
    return port


def _hold(port: int, held: contextlib.ExitStack) -> bool:
    name = held.enter_context(socket.socket(socket.AF_UNIX))
    try:
        name.bind(f"\0apd-port-{port}")
    except OSError:
        return False
    return True


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that just ended are nobody's
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _any_free() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def _get(url: str, body: Any = None) -> Any:
    """The JSON that the URL answers with, to a POST when there is a body; None when it does not answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 our own server
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return json.loads(answer.read())
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None
