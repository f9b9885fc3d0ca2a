"""A real PostgreSQL for a test: Debian's, on loopback, in a folder of its own, not as root."""

import contextlib
import glob
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

USER = "prefect"


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Run a server with an empty database; yield its URL."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    if not found:
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up("a real database needs Debian's postgresql: infra/setup-system installs it")
    public = os.environ["PYTEST_DEBUG_TEMPROOT"]  # the tests' own temporary folder is for their user alone
    programs, folder = Path(found[-1]).parent, Path(tempfile.mkdtemp(prefix="apd-postgres-", dir=public))
    data, port = folder / "data", free_port()
    as_user = ("runuser", "-u", "postgres", "--") if os.getuid() == 0 else ()
    if as_user:
        shutil.chown(folder, "postgres")

    def run(program: str, *arguments: str) -> None:
        with (folder / "log").open("ab") as log:
            subprocess.run([*as_user, programs / program, *arguments], cwd=folder, stdout=log, stderr=log, check=True)

    run("initdb", "-D", f"{data}", "-U", USER, "--auth=trust", "--no-sync", "--locale=C.UTF-8")
    run("pg_ctl", "-D", f"{data}", "-w", "-o", f"-h 127.0.0.1 -p {port} -k {folder} -F", "start")
    try:
        run("createdb", "-h", "127.0.0.1", "-p", f"{port}", "-U", USER, "prefect")
        yield f"postgresql://{USER}:trusted@127.0.0.1:{port}/prefect"
    finally:
        run("pg_ctl", "-D", f"{data}", "-m", "immediate", "stop")
        shutil.rmtree(folder)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
