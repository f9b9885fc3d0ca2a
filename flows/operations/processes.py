"""Background processes of one installation: started once, recognised for certain, ended without touching any other.

Every process is started with a mark in its environment, `APD_SERVICE=<token>:<name>`, where the token is a random
number kept in the installation's folder. Whatever a service starts inherits the mark, also in a session of its own and
also when a crash made it an orphan; no process of anybody else can carry it, so a process number that the system gave
to another program since is never mistaken for ours. A file per service says which process is the service itself.

Reads /proc, so Linux only.
"""

import contextlib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from apd.errors import ApdError, ConfigError

MARK = "APD_SERVICE"
PROC = Path("/proc")
PATIENCE = 15.0
"""Seconds that a process gets to end in order."""


@dataclass(frozen=True, slots=True)
class Service:
    """A program that runs until it is told to end."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    """Beside the environment of who starts it."""
    ready: Callable[[], bool]
    """Whether it answers."""
    patience: float = 120.0
    """Seconds within which it has to answer."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process, whose number another one may have later."""

    pid: int
    session: int
    started: int
    """When, in the kernel's ticks since it was booted."""

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return _process(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Nothing happens when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class Processes:
    """The services of the installation in one folder, which also holds their logs."""

    def __init__(self, home: Path) -> None:
        if not (PROC / "self" / "environ").exists():
            raise ConfigError("services are started and found through /proc, which this system does not have")
        self.home = home
        self._token = _token(home)

    def start(self, service: Service) -> bool:
        """Start it and wait until it answers; False when it ran already."""
        started = self.launch(service)
        self.wait(service)
        return started

    def launch(self, service: Service) -> bool:
        """Start it; False when it ran already. What a crash left of it is ended first."""
        if self.running(service.name):
            return False
        self.stop(service.name)
        self._launch(service)
        return True

    def wait(self, service: Service) -> None:
        """Wait until it answers. Raises ApdError with the end of its log when it ended, or has not for its patience."""
        deadline = time.monotonic() + service.patience
        while not service.ready():
            if not self.running(service.name):
                raise ApdError(f"the {service.name} ended instead of answering; {self._last_words(service.name)}")
            if time.monotonic() > deadline:
                raise ApdError(
                    f"the {service.name} has not answered for {service.patience:.0f} s; "
                    f"{self._last_words(service.name)}"
                )
            time.sleep(0.2)

    def running(self, name: str) -> bool:
        """Whether the service itself is alive, not only something that it had started."""
        return self._leader(name) in self._marked(name)

    def stop(self, *names: str) -> list[str]:
        """End these services together, then all that they have started: asked first, forced after a while.

        Returns the names of those of which something was alive.
        """
        found = {name: self.members(name) for name in names}
        leaders = [self._leader(name) for name in names]
        everyone = [one for members in found.values() for one in members]
        _end([one for one in everyone if one.pid in leaders])
        _end({*everyone, *(one for name in names for one in self.members(name))})
        for name in names:
            self._file(name).unlink(missing_ok=True)
        return [name for name in names if found[name]]

    def members(self, name: str) -> list[Process]:
        """Every living process of the service: those that carry its mark, and whoever is in a session with one of them.

        The second, because a program that changes its title overwrites the environment that others can read.
        """
        sessions = {one.session for pid in self._marked(name) if (one := _process(pid))}
        return [one for pid in _pids() if (one := _process(pid)) and one.session in sessions]

    def log(self, name: str) -> Path:
        """Where the service writes to."""
        return self.home / "logs" / f"{name}.log"

    def _marked(self, name: str) -> list[int]:
        mark = f"{MARK}={self._token}:{name}".encode()
        return [pid for pid in _pids() if mark in _environment(pid)]

    def _launch(self, service: Service) -> None:
        self.log(service.name).parent.mkdir(exist_ok=True)
        with self.log(service.name).open("ab") as log:
            process = subprocess.Popen(
                service.command,
                env={**os.environ, **service.environment, MARK: f"{self._token}:{service.name}"},
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_hear_interrupts,
            )
        process.returncode = 0  # it outlives us, which Popen would warn of
        self._file(service.name).write_text(str(process.pid))

    def _last_words(self, name: str) -> str:
        lines = self.log(name).read_text(errors="replace").splitlines()[-5:]
        return "\n".join([f"the end of {self.log(name)}:", *lines])

    def _leader(self, name: str) -> int | None:
        file = self._file(name)
        return int(file.read_text()) if file.exists() else None

    def _file(self, name: str) -> Path:
        return self.home / f"{name}.pid"


def _token(home: Path) -> str:
    """The installation's own random number, made on first use; whole or not there."""
    home.mkdir(parents=True, exist_ok=True)
    file = home / "token"
    if not file.exists():
        draft = home / f"token.{os.getpid()}"
        draft.write_text(secrets.token_hex(16))
        draft.replace(file)
    return file.read_text()


def _hear_interrupts() -> None:
    """Undo what shells do to programs in the background, which mutes SIGINT: a Prefect worker ends itself by one."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def _environment(pid: int) -> list[bytes]:
    """Of a process of ours; empty for one that has ended or is another user's."""
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []


def _process(pid: int) -> Process | None:
    """The living process that has the number now."""
    try:
        state, *fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else Process(pid, session=int(fields[2]), started=int(fields[18]))


def _end(processes: Iterable[Process]) -> None:
    """Ask them to end, and force those that have not after a while."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        alive = [one for one in processes if one.alive]
        for one in alive:
            one.send(number)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and any(one.alive for one in alive):
            time.sleep(0.05)
