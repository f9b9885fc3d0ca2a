"""The command as a process of its own: killed, interrupted, and run again until it is done."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from apd.store import Stream
from tests.actors.small import accept, bits, config, epochs_saved, held_network, learn_here, slow_network, submit
from tests.conftest import ROOT

MAIN = "import sys; from flows.cli import main; sys.argv[0] = 'apd'; main()"


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The apd command as the leader of its own process group, as a terminal would start it; nothing is left of it."""
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_for_epoch(stream: Stream, task: str, epoch: int, process: subprocess.Popen[str]) -> None:
    """Return as soon as the attempt at the task has finished this epoch."""
    end = time.monotonic() + 240
    while epochs_saved(stream, task) < epoch:
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            pytest.fail(f"the command never came to epoch {epoch}: {process.communicate()[1]}")
        time.sleep(0.02)


def members(group: int) -> list[str]:
    """Command lines of the session's living processes."""
    listed = subprocess.run(["ps", "-eo", "sid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = (line.split(None, 2) for line in listed.splitlines())
    return [arguments for session, state, arguments in rows if int(session) == group and not state.startswith("Z")]


def wait_until_gone(group: int, what: str = "") -> None:
    """Return when no process of the session is left, or none with this in its command line."""
    end = time.monotonic() + 60
    while left := [one for one in members(group) if what in one]:
        if time.monotonic() > end:
            pytest.fail(f"still there: {left}")
        time.sleep(0.1)


def last_words(process: subprocess.Popen[str], code: int) -> str:
    """Return the last line that the command writes; it ends with this code, and nothing that it started is left."""
    try:
        said = process.communicate(timeout=60)[1]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # it answers with where each of its threads is
        time.sleep(2)
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"still there after a minute: {process.communicate()[1]}")
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert "***" not in said  # Ray's own end by a signal
    wait_until_gone(process.pid)
    return said.splitlines()[-1]


@pytest.mark.timeout(900)
def test_killed_terminated_interrupted_then_finished_gives_the_bits_of_a_run_that_nobody_disturbed(tmp_path: Path):
    """Every process trains one epoch and is held in the next, so that there is time to hit it."""
    undisturbed = Stream.create(str(tmp_path / "undisturbed"), config(slow_network(0.0)))
    expected = learn_here(undisturbed, accept(undisturbed, 1)).entries[0]
    holding = tmp_path / "holding"
    holding.mkdir()
    stream = Stream.create(str(tmp_path / "stream"), config(held_network(holding, 1)))
    task = submit(stream, 1)

    with running("run", "--stream", stream.url) as killed:
        wait_for_epoch(stream, task, 1, killed)
        killed.kill()
        for what in ("uvicorn", "ray::Trainer"):  # Prefect's embedded server, and whoever saves attempts
            wait_until_gone(killed.pid, what)
    assert stream.head().entries == ()

    with running("run", "--stream", stream.url) as terminated:
        wait_for_epoch(stream, task, 2, terminated)
        terminated.terminate()
        assert last_words(terminated, 143) == "terminated; run the same command again to continue where it was"
    assert stream.head().entries == ()

    with running("run", "--stream", stream.url) as interrupted:
        wait_for_epoch(stream, task, 3, interrupted)
        os.killpg(interrupted.pid, signal.SIGINT)
        assert last_words(interrupted, 130) == "interrupted; run the same command again to continue where it was"
    assert stream.head().entries == ()

    holding.rmdir()
    with running("run", "--stream", stream.url) as finished:
        said = finished.communicate(timeout=240)[1]
    assert finished.returncode == 0, said
    assert "epoch 1/" not in said  # it went on where it was
    assert bits(stream) == bits(undisturbed)
    entry = stream.head().entries[0]
    found = (entry.validation_accuracy, entry.test_accuracy, entry.tau_nnz)
    assert found == (expected.validation_accuracy, expected.test_accuracy, expected.tau_nnz)
    assert stream.load_attempt(task) is None
