"""An unsaved learner's temporary folder lasts as long as anything in the process that made it needs it."""

import copy
import gc
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from apd.learner import Learner
from tests.test_learner import new, samples


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_outlives_the_learner(duplicate: Callable[[Learner], Learner]) -> None:
    learner = new(epochs=1)
    learner.learn("shoes", samples(1))
    other = duplicate(learner)
    home = Path(learner.stream.url)
    del learner
    gc.collect()
    assert len(other.predict("shoes", samples(1)[0])) == 90
    del other
    gc.collect()
    assert not home.exists()


def test_a_stream_outlives_its_learner() -> None:
    stream = new().stream
    gc.collect()
    assert stream.head().number == 0


def test_a_saved_learner_leaves_no_temporary_folder(tmp_path: Path) -> None:
    learner = new()
    home = Path(learner.stream.url)
    learner.save(tmp_path / "stream")
    gc.collect()
    assert not home.exists()
    assert Learner.load(tmp_path / "stream").tasks == ()


def test_the_end_of_a_forked_process_leaves_the_folder() -> None:
    program = """
import os, sys
from apd.store.connect import temporary_folder
folder = temporary_folder()
if os.fork() == 0:
    sys.exit(0)
os.wait()
assert os.path.isdir(folder.url)
print(folder.url)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not os.path.exists(done.stdout.strip())
