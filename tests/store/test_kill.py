"""SIGKILL at every step: of a submission, an acceptance, a commit, a consolidation, a forgetting, a collection.

A step is a change that the file system is asked for: a file opened to write, linked, renamed or removed. The work
runs in a process of its own, which an audit hook kills right before its n-th step, for every n until it
lives to the end. After each death the stream verifies, and doing the work again completes it.
"""

import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from apd.state import TaskState
from apd.store import Stream
from apd.store.upkeep import collect, verify
from tests.store.counts import count
from tests.store.processes import PROCESSES
from tests.store.same import same_state
from tests.store.samples import CONFIG, candidate_of, consolidated, info_of, learn, write_task_folder

pytestmark = pytest.mark.faults


def is_step(event: str, arguments: tuple, folder: str) -> bool:
    """Whether the audit event is a change below the folder."""
    if event not in ("open", "os.link", "os.rename", "os.remove") or not str(arguments[0]).startswith(folder):
        return False
    if event == "open":
        return bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return Path(arguments[0]).exists()


def die_before(step: int, folder: str) -> None:
    """Kill this process right before its `step`-th change below the folder, counted from 1."""
    left = step

    def watch(event: str, arguments: tuple) -> None:
        nonlocal left
        if is_step(event, arguments, folder):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def run(work: Callable[[str], None], url: str, step: int) -> None:
    Stream.open(url).history.require_safe_store()  # its steps are not the work's
    die_before(step, url)
    work(url)


def survives(work: Callable[[str], None], url: str, step: int) -> bool:
    """Whether the work ends before its `step`-th step."""
    process = PROCESSES.Process(target=run, args=(work, url, step))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == 0


def submit(url: str) -> None:
    stream = Stream.open(url)
    if not stream.inbox.knows("new"):
        stream.inbox.submit(Path(url).parent / "new")


def accept(url: str) -> None:
    stream = Stream.open(url)
    for folder in stream.inbox.complete():
        stream.inbox.accept(folder, info_of("new"))
    stream.inbox.sweep()


def learn_new(url: str) -> None:
    stream = Stream.open(url)
    stream.commit_candidate(candidate_of(stream, stream.head(), "later", 9))


def consolidate(url: str) -> None:
    stream = Stream.open(url)
    if stream.head().kind != "consolidate":
        consolidated(stream)


def forget(url: str) -> None:
    Stream.open(url).commit_forget("c")


def clean(url: str) -> None:
    collect(Stream.open(url), keep=1, grace=0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stream with tasks beside a folder to submit; the same with the folder submitted."""
    folder = tmp_path_factory.mktemp("prepared")
    stream = Stream.create(str(folder / "learned" / "stream"), CONFIG)
    for seed, name in enumerate("abc"):
        learn(stream, name, seed)
    write_task_folder(folder / "learned" / "new", "new")
    shutil.copytree(folder / "learned", folder / "submitted")
    submit(str(folder / "submitted" / "stream"))
    return folder


WORK = {
    "submit": (submit, lambda stream: stream.inbox.complete() == ["new"]),
    "accept": (accept, lambda stream: [item.task for item in stream.inbox.waiting()] == ["new"]),
    "learn": (learn_new, lambda stream: [entry.name for entry in stream.head().entries] == [*"abc", "later"]),
    "consolidate": (consolidate, lambda stream: (stream.head().number, stream.head().kind) == (4, "consolidate")),
    "forget": (forget, lambda stream: not stream.head().has("c") and stream.head().number == 4),
    "clean": (clean, lambda stream: verify(stream).unneeded == 0),
}


@pytest.mark.parametrize("name", WORK)
def test_killed_at_every_step(prepared: Path, tmp_path: Path, name: str) -> None:
    work, done = WORK[name]
    states = {task: learned(prepared, task) for task in "ab"}
    for step in itertools.count(1):
        folder = tmp_path / str(step)
        shutil.copytree(prepared / ("submitted" if name == "accept" else "learned"), folder)
        url = str(folder / "stream")
        lived = survives(work, url, step)
        stream = Stream.open(url)
        assert [problem for problem in verify(stream).problems if "`apd forget c` goes on" not in problem] == []
        if name != "consolidate":
            assert all(same_state(stream.load_task(stream.head(), task), state) for task, state in states.items())
        work(url)
        assert done(Stream.open(url)), f"died before step {step}, then worked again"
        assert verify(stream).problems == ()
        if lived:
            break
    count("processes killed, one before each change of a folder by six kinds of work", step - 1)


def learned(prepared: Path, task: str) -> TaskState:
    stream = Stream.open(str(prepared / "learned" / "stream"))
    return stream.load_task(stream.head(), task)
