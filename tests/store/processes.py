"""Processes of their own, which start quickly: each is a fork of one that has imported everything and done nothing."""

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from apd.errors import Unreachable
from apd.store import Candidate, Stream
from apd.store.upkeep import verify
from tests.conftest import ROOT
from tests.store.samples import CONFIG, learn

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["tests.store.processes", "tests.store.same", "apd.store.upkeep", "sklearn.cluster", "s3fs"]
)


def commit(url: str, candidate: Candidate) -> None:
    Stream.open(url).commit_candidate(candidate)


def learn_with_a_full_disk(url: str) -> None:
    """No file may become larger than 500 bytes."""
    stream = Stream.open(url)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
    with pytest.raises(Unreachable, match="cannot be written: File too large"):
        learn(stream, "b", 2)


def learn_until_it_fails(stream: Stream) -> tuple[int, str]:
    """How many tasks (task-0, task-1, ...) were acknowledged, and what the next one ended with."""
    number = 0
    while True:
        try:
            learn(stream, f"task-{number}", number)
        except Unreachable as error:
            return number, str(error)
        number += 1


def run_mounted(mount: str, function: str, *arguments: str) -> None:
    """Run one of this module's functions where that mount was made, which nobody else sees; needs no privilege."""
    code = f"from tests.store import processes; processes.{function}(*{arguments})"
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"]
    if subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("mounting takes user namespaces, which this machine does not allow")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([*command, sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def fill_a_disk(folder: str) -> None:
    """Learn until nothing fits any more; then with room again."""
    stream, ballast = Stream.create(f"{folder}/stream", CONFIG), Path(folder, "ballast")
    ballast.write_bytes(bytes(200_000))
    learned, error = learn_until_it_fails(stream)
    assert "No space left on device" in error
    assert learned > 0
    assert stream.head().number == learned
    assert verify(stream).problems == ()
    ballast.unlink()
    assert learn(stream, f"task-{learned}", learned).number == learned + 1
    assert verify(stream).problems == ()


def use_what_cannot_be_written(url: str) -> None:
    """Everything can be read and nothing changes."""
    stream = Stream.open(url)
    assert stream.load_task(stream.head(), "a").name == "a"
    assert verify(stream).problems == ()
    with pytest.raises(Unreachable, match="Read-only file system"):
        learn(stream, "b", 2)
    assert stream.head().number == 1
