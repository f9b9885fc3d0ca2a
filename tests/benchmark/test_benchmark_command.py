"""The command as a user types it, in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

COMMAND = [sys.executable, "-c", "from flows.cli import main; main()", "benchmark", "digits"]
SMALL = ["--tasks", "3", "--set", "learning.epochs=1", "--set", "network.arguments.hidden=[16]"]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    words = [*COMMAND, *SMALL, "--out", str(folder), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, text=True, cwd=ROOT, start_new_session=True, **pipes)


def run(folder: Path, *arguments: str) -> str:
    process = start(folder, *arguments)
    out, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors
    return out


def test_the_command_end_to_end_and_again(tmp_path):
    choice = ["--methods", "apd2,finetuning", "--orders", "A"]
    found = json.loads(run(tmp_path, *choice, "--json"))
    assert [method["method"] for method in found["methods"]] == ["apd2", "finetuning"]
    assert all(0 < method["accuracy"]["mean"] <= 1 for method in found["methods"])
    assert all(Path(file).stat().st_size for file in found["files"])
    before = cells(tmp_path)
    assert set(before) == {"apd2-A-0.json", "finetuning-A-0.json"}
    out = run(tmp_path, *choice)
    assert "| apd2 |" in out
    assert "| finetuning |" in out
    assert cells(tmp_path) == before


def cells(folder: Path) -> dict[str, tuple[int, bytes]]:
    """When each finished cell was written, and what is in it: the time that its training took, for one."""
    return {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in (folder / "cells").glob("*.json")}


@pytest.mark.timeout(600)
def test_killed_it_goes_on_where_it_was(tmp_path):
    choice = ["--methods", "finetuning,stl", "--orders", "A,B", "--parallel", "1"]
    process = start(tmp_path, *choice)
    limit = time.monotonic() + 200
    while not cells(tmp_path) and time.monotonic() < limit:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = cells(tmp_path)
    assert 0 < len(before) < 4
    run(tmp_path, *choice)
    after = cells(tmp_path)
    assert len(after) == 4
    assert {name: after[name] for name in before} == before
