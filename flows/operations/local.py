"""`up` and `down`: everything that runs a stream on one machine, started and ended together.

What was started, and on which ports, is kept in the installation's folder; so `up` twice changes nothing, and after a
crash it starts what is missing.
"""

import contextlib
import dataclasses
import fcntl
import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from apd.errors import ConfigError, NotFound
from apd.store import Stream, make_bucket, normal_url
from apd.wording import masked
from flows.operations.processes import Processes
from flows.operations.services import BUCKET, Installation, reserved_ports, services

OTHERS = ("ray", "server", "s3")
"""The services beside the worker."""

SETTINGS = "installation.json"


def up(
    home: Path,
    prepare: Callable[[Installation, bool], None],
    *,
    stream: str | None = None,
    pool: str = "apd",
    s3: bool = False,
    database: str | None = None,
) -> Installation:
    """Start what does not run yet: all at once, then the worker, before which `prepare` makes what it is to work on.

    prepare: is told whether the worker runs already, and so works on what was made before.
    stream: URL; by default one in the installation's own folder or, with `s3`, bucket. database: URL of a PostgreSQL
    database for Prefect. Raises ConfigError when it is up already with other settings.
    """
    with _alone(home), reserved_ports(_ports_before(home)) as ports:
        processes = Processes(home)
        installation = _settle(processes, _wanted(home, stream, pool, ports, s3, database))
        *first, worker = services(installation)
        for service in first:
            processes.launch(service)
        for service in first:
            processes.wait(service)
        if installation.s3:
            make_bucket(f"s3://{BUCKET}", storage_options=_s3_options(installation))
        prepare(installation, processes.running(worker.name))
        processes.start(worker)
        return installation


def down(home: Path) -> list[str]:
    """End what `up` started here, and nothing else; returns the names of the services that were alive."""
    if not home.is_dir():
        return []
    with _alone(home):
        processes = Processes(home)
        return processes.stop("worker") + processes.stop(*OTHERS)  # a worker without its server would not end in order


def has_stream(installation: Installation) -> bool:
    """Whether somebody has made the stream that the deployments work on."""
    try:
        Stream.open(installation.stream, storage_options=_s3_options(installation) if installation.s3 else None)
    except NotFound:
        return False
    return True


def _wanted(
    home: Path, stream: str | None, pool: str, ports: dict[str, int], s3: bool, database: str | None
) -> Installation:
    default = f"s3://{BUCKET}/stream" if s3 else str(home / "stream")
    token = secrets.token_hex(32)
    return Installation(str(home), normal_url(stream or default), pool, ports, token, s3, _asynchronous(database))


def _asynchronous(database: str | None) -> str | None:
    """The URL with the driver that Prefect needs."""
    if database is None or database.startswith("postgresql+asyncpg://"):
        return database
    scheme, separator, rest = database.partition("://")
    if scheme not in ("postgres", "postgresql") or not separator:
        raise ConfigError(
            f"--database {masked(database)!r} should read like postgresql://user:password@host:5432/prefect"
        )
    return f"postgresql+asyncpg://{rest}"


def _settle(processes: Processes, wanted: Installation) -> Installation:
    """The settings to go by: those of what runs already, else the wanted ones with the secrets of before."""
    file = processes.home / SETTINGS
    if file.exists():
        before = Installation(**json.loads(file.read_text()))
        if any(processes.running(name) for name in ("worker", *OTHERS)):
            _require_same(before, wanted)
            return before
        ports = {**wanted.ports, "s3": before.ports["s3"]}  # the S3 server keeps the port it was made with
        wanted = dataclasses.replace(wanted, token=before.token, ports=ports)
    file.touch(mode=0o600)
    file.write_text(json.dumps(dataclasses.asdict(wanted), indent=2))
    return wanted


def _ports_before(home: Path) -> dict[str, int]:
    """The ports that the installation had when it was last up: a shell that talks to it finds it again."""
    file = home / SETTINGS
    return dict(json.loads(file.read_text())["ports"]) if file.exists() else {}


def _require_same(before: Installation, wanted: Installation) -> None:
    for name in ("stream", "pool", "s3", "database"):
        running, asked = getattr(before, name), getattr(wanted, name)
        if running != asked:
            here, there = _shown(running), _shown(asked)
            other = f"not {there}" if here != there else "but with another password"
            raise ConfigError(
                f"{before.home} is up with {name} {here}, {other}; `apd down` first, or take another --home"
            )


def _shown(setting: str | bool | None) -> str:
    return repr(masked(setting) if isinstance(setting, str) else setting)


def _s3_options(installation: Installation) -> dict[str, str]:
    variables = installation.client_environment
    return {
        "endpoint_url": variables["AWS_ENDPOINT_URL"],
        "key": variables["AWS_ACCESS_KEY_ID"],
        "secret": variables["AWS_SECRET_ACCESS_KEY"],
    }


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Keep a second `up` or `down` of the same installation waiting."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
