"""Background processes: started once, recognised after crashes, ended with all they started and nothing else."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from apd.errors import ApdError
from flows.operations import processes
from flows.operations.processes import Processes, Service


def service(home: Path, script: str = "sleep 60", name: str = "server", patience: float = 20.0) -> Service:
    """A shell script that is ready when it has made the file `ready`."""
    command = ("sh", "-c", f"touch {shlex.quote(str(home / 'ready'))}; {script}")
    return Service(name, command, {}, (home / "ready").exists, patience)


@pytest.fixture
def started(tmp_path):
    made = Processes(tmp_path / "home")
    yield made
    for name in ("server", "other"):
        made.stop(name)


def test_starts_once_and_ends(started, tmp_path):
    assert started.start(service(tmp_path))
    first = started.members("server")
    assert not started.start(service(tmp_path))
    assert started.members("server") == first
    assert started.running("server")
    assert started.stop("server")
    assert not any(one.alive for one in first)
    assert not started.running("server")
    assert not started.stop("server")


def test_services_that_are_ended_together_do_not_wait_for_each_other(started, tmp_path):
    """The first ends in order only when the second has been asked to end."""
    asked, ended, armed = (tmp_path / name for name in ("asked", "ended", "armed"))
    answers = {
        "server": f"until [ -e {asked} ]; do sleep 0.05; done; touch {ended}",
        "other": f"touch {asked}",
    }
    for name, answer in answers.items():
        script = f"trap '{answer}; exit 0' TERM; touch {armed}-{name}; while :; do sleep 0.05; done"
        started.start(service(tmp_path, script, name=name))
        while not Path(f"{armed}-{name}").exists():
            time.sleep(0.02)
    assert started.stop("server", "absent", "other") == ["server", "other"]
    assert ended.exists()


def test_ends_children_that_left_its_session_or_hide_their_environment(started, tmp_path):
    started.start(service(tmp_path, "setsid sleep 61 & env -i sleep 62 & wait"))
    while len(started.members("server")) < 3:
        time.sleep(0.05)
    members = started.members("server")
    started.stop("server")
    assert not any(one.alive for one in members)


def test_forces_what_does_not_listen(started, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "PATIENCE", 0.5)
    started.start(service(tmp_path, "trap '' TERM; while true; do sleep 1; done"))
    [leader, *_] = started.members("server")
    started.stop("server")
    assert not leader.alive


def test_ends_what_a_crash_left_before_it_starts_again(started, tmp_path):
    started.start(service(tmp_path, "setsid sleep 61 & wait"))
    while len(started.members("server")) < 2:
        time.sleep(0.05)
    leader = int((started.home / "server.pid").read_text())
    [orphan] = [one for one in started.members("server") if one.pid != leader]
    os.kill(leader, signal.SIGKILL)
    while started.running("server"):
        time.sleep(0.05)
    assert started.members("server") == [orphan]
    assert started.start(service(tmp_path))
    assert not orphan.alive


def test_a_number_that_now_belongs_to_another_program_is_not_ours(started):
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (started.home / "server.pid").write_text(str(stranger.pid))
    assert not started.running("server")
    assert not started.stop("server")
    assert stranger.poll() is None
    stranger.communicate(b"\n")


def test_services_and_installations_are_apart(started, tmp_path):
    started.start(service(tmp_path))
    neighbour = Processes(tmp_path / "neighbour")
    neighbour.start(service(tmp_path))
    started.start(service(tmp_path, name="other"))
    started.stop("server")
    assert neighbour.running("server")
    assert started.running("other")
    neighbour.stop("server")


def test_says_how_a_service_died(started, tmp_path):
    dying = Service("server", ("sh", "-c", "echo the port is taken; exit 3"), {}, lambda: False)
    with pytest.raises(ApdError, match=r"(?s)the server ended instead of answering.*the port is taken"):
        started.start(dying)


def test_says_that_a_service_does_not_answer(started, tmp_path):
    mute = Service("server", ("sh", "-c", "echo still loading; sleep 60"), {}, lambda: False, patience=0.5)
    with pytest.raises(ApdError, match=r"(?s)has not answered for 0 s.*still loading"):
        started.start(mute)


def test_a_service_in_the_background_hears_interrupts(started, tmp_path):
    """A shell mutes SIGINT in what it runs in the background, and that is inherited."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        started.start(service(tmp_path, "exec sleep 60"))
    finally:
        signal.signal(signal.SIGINT, before)
    [leader] = started.members("server")
    leader.send(signal.SIGINT)
    while started.running("server"):
        time.sleep(0.05)
