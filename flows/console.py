"""What the terminal shows while a flow runs in it: the steps' own lines, not the engine's.

`prepare` must run before Prefect is imported, because Prefect reads its environment then.
"""

import contextlib
import logging
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator

from apd.errors import ApdError
from apd.wording import masked

ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
}
"""Nothing calls home; Prefect's own console lines stay out of ours. What the user has set stays."""

HERE = str(pathlib.Path(__file__).parent)


class Terminal(logging.Handler):
    """Writes what our flows and steps say to standard error, whatever that is at the time; the API still gets all."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record was logged by a file of this package."""
        return record.pathname.startswith(HERE)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        sys.stderr.write(f"{self.format(record)}\n")
        sys.stderr.flush()


def prepare() -> None:
    """Quiet surroundings, and one handler for what flows and steps say."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import prefect.main  # noqa: F401  its import configures logging, which would drop a handler added before

    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        if not any(isinstance(handler, Terminal) for handler in logger.handlers):
            logger.addHandler(Terminal())
    start_server()


def start_server() -> None:
    """Start the server that Prefect embeds, unless the settings name another one.

    A Ctrl-C goes to all processes of the terminal. This one must outlive it: the flows report to it that they were
    interrupted, and wait for a minute when it does not answer. A process inherits what its parent blocks. And it must
    not outlive this process, however that ends.
    """
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    if settings.api.url or not settings.server.ephemeral.enabled:
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    server = SubprocessASGIServer()
    try:
        server.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if server.server_process:
        end_with_us(server.server_process.pid)


def end_with_us(pid: int) -> None:
    """End that process when this one is gone, be it by SIGKILL: the pipe that a shell waits on is closed then."""
    waits, _ours = os.pipe()  # closed with this process, not before
    command = ("/bin/sh", "-c", 'read -r _; kill "$0"', str(pid))
    with os.fdopen(waits) as end:
        shell = subprocess.Popen(command, stdin=end, stderr=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
    shell.returncode = 0  # it outlives us, which Popen would warn of


@contextlib.contextmanager
def server_needed() -> Iterator[None]:
    """Raise ApdError where what is done in the block fails because Prefect's server is away; other errors pass."""
    try:
        yield
    except Exception as error:
        if not _is_away(error):
            raise
        raise ApdError(_no_server(error)) from error


def _is_away(error: Exception) -> bool:
    """Whether this is how Prefect's client, or the engine of its flows, says that nobody answers for the server."""
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error
    by_engine = isinstance(error, RuntimeError) and "Failed to reach API" in str(error)
    return by_engine or isinstance(error, httpx.TransportError)


def _no_server(error: Exception) -> str:
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    what = masked(" ".join(str(error).split())) or type(error).__name__
    if url is None:
        return f"the Prefect server that was started for this command does not answer ({what}); try again"
    return (
        f"no Prefect server answers at PREFECT_API_URL={masked(url)} ({what}); start that server, correct the variable "
        "or unset it: a command then runs with a server of its own"
    )
