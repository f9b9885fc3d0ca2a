"""What every test may rely on: one thread, no network but loopback, no account of the user's, and two S3 servers.

    moto_server   an S3 look-alike in this process: starts at once, keeps nothing. For the many cases.
    ceph          a real S3 server (infra/s3/ceph): starts in 15 s. For what a look-alike cannot show.

Both are `S3Server`s; each `bucket()` is new and empty, so tests share a server and nothing else.
"""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.store.counts import COUNTS

ROOT = Path(__file__).parent.parent

ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",  # every test's cluster is on loopback
    "RAY_DEDUP_LOGS": "0",
    "OMP_NUM_THREADS": "1",  # in processes that tests start too: several at once slow each other down many times
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "MPLBACKEND": "agg",
}
"""What the tests' process and those it starts run with: nothing reports home or finds an account of the user's."""

USERS_OWN = (
    "AWS_PROFILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "PREFECT_API_URL",
    "PREFECT_API_KEY",
    "RAY_ADDRESS",
)


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment before any test module imports torch, ray or prefect, which read it once."""
    root = os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # where `tmp_path` stays for a look
    home = tempfile.TemporaryDirectory(prefix="apd-", dir=root, ignore_cleanup_errors=True)
    config.add_cleanup(home.cleanup)
    os.environ["TMPDIR"] = tempfile.tempdir = home.name  # all else that is left behind, as by what tests kill, goes
    for name in USERS_OWN:
        os.environ.pop(name, None)
    os.environ.update(ENVIRONMENT, PREFECT_HOME=f"{home.name}/prefect", MPLCONFIGDIR=f"{home.name}/matplotlib")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as of a job in the background, and all that tests start
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.addaudithook(refuse_network)
    settings.register_profile("apd", deadline=None, derandomize=True)  # neither a busy machine nor chance decides
    settings.load_profile("apd")


TOGETHER = {"actors": "actors", "benchmark": "flows", "flows": "flows", "operations": "operations"}
"""Folders of tests that start Ray and Prefect and mostly wait for them, by what one process starts once for all."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where several processes share the tests (`pytest -n 2`): folders with clusters stay together."""
    from xdist.scheduler import LoadScopeScheduling

    class Apart(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            """Tests of one scope are for one process; all other tests are dealt out one by one."""
            return TOGETHER.get(Path(nodeid.partition("::")[0]).parent.name, nodeid)

    return Apart(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what this process's part of the fault suite did to the process that prints it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["faults"] = dict(COUNTS)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add what another process did."""
    COUNTS.update(getattr(node, "workeroutput", {}).get("faults", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the fault suite did; each with a clean verification after it."""
    if COUNTS:
        terminalreporter.section("faults survived")
        for what, number in sorted(COUNTS.items()):
            terminalreporter.write_line(f"{number:7,}  {what}")


def refuse_network(event: str, arguments: tuple) -> None:
    """Audit hook: a TCP connection to another machine is an error in the test that tries it."""
    if event != "socket.connect":
        return
    connection, address = arguments
    if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.type & socket.SOCK_DGRAM:
        return
    if address[0] not in OWN_ADDRESSES and not address[0].startswith("127."):
        raise PermissionError(f"tests stay on this machine: connection to {address[0]} port {address[1]} refused")


def own_addresses() -> frozenset[str]:
    """Return the names and addresses under which this machine knows itself; Ray uses the outward one."""
    names = {"localhost", "::1", "0.0.0.0", socket.gethostname()}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation; a datagram socket sends nothing here
            names.add(probe.getsockname()[0])
        except OSError:  # no route outward, so no outward address either
            return frozenset(names)
    return frozenset(names)


OWN_ADDRESSES = own_addresses()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep torch to one thread, for speed and for the same bits on every machine."""
    import torch

    torch.set_num_threads(1)


@dataclass(frozen=True)
class S3Server:
    """An S3 server on loopback."""

    endpoint: str
    key: str
    secret: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def storage_options(self) -> dict[str, str]:
        """What s3fs, and so `Stream.create(..., storage_options=...)`, takes."""
        return {"endpoint_url": self.endpoint, "key": self.key, "secret": self.secret}

    @property
    def environment(self) -> dict[str, str]:
        """The same as environment variables, for processes that are told nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self, service: str, **options: Any) -> Any:
        """boto3's client of one of its services."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
            **options,
        )

    def bucket(self) -> str:
        """Make a new empty bucket and return its URL, `s3://bucket-0`."""
        name = f"bucket-{next(self._numbers)}"
        with closing(self.client("s3")) as client:
            client.create_bucket(Bucket=name)
        return f"s3://{name}"


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    """Run moto's S3 look-alike for the whole session.

    One request at a time: between its check of a condition and its write moto lets others in, so that of eight racing
    creators two have won.
    """
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    class Quiet(MotoRequestHandler):
        def log(self, *arguments: object) -> None:
            """Write no line for each request."""

    application = DomainDispatcherApplication(create_backend_app)
    turn = threading.Lock()

    def in_turn(environ: dict, start_response: Callable) -> Iterable[bytes]:
        with turn:
            return application(environ, start_response)

    server = make_server("127.0.0.1", 0, in_turn, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield S3Server(f"http://127.0.0.1:{server.server_port}", "testing", "testing")
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True)
class CephServer(S3Server):
    """A Ceph object gateway that a test may kill and start again; its data stay, and so does its address."""

    folder: Path = Path()

    def start(self) -> None:
        """Start it again after `kill` or `stop`; returns when it answers."""
        run_ceph("start", self.folder)

    def stop(self) -> None:
        """End it in order."""
        run_ceph("stop", self.folder)

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL to its three daemons."""
        run_ceph("kill", self.folder)


def run_ceph(action: str, folder: Path) -> dict[str, str]:
    """Run infra/s3/ceph; return the variables it prints."""
    script = ROOT / "infra" / "s3" / "ceph"
    ended = subprocess.run([script, action, folder], capture_output=True, text=True, timeout=120)
    if ended.returncode:
        pytest.fail(f"infra/s3/ceph {action} exited with {ended.returncode}: {ended.stderr}")
    return dict(line.removeprefix("export ").split("=", 1) for line in ended.stdout.splitlines())


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CephServer]:
    """Run a Ceph object gateway for the whole session; who kills it starts it again."""
    if not all(map(shutil.which, ("radosgw", "ceph-osd", "ceph-mon"))):
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up("a real S3 server needs Debian's radosgw, ceph-mon and ceph-osd: infra/setup-system installs them")
    folder = tmp_path_factory.mktemp("ceph")
    found = run_ceph("start", folder)
    server = CephServer(
        found["AWS_ENDPOINT_URL"], found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"], folder=folder
    )
    yield server
    server.kill()
    shutil.rmtree(folder)
