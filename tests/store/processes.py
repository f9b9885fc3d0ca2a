"""Processes of their own, which start quickly: each is a fork of one that has imported everything and done nothing."""

import multiprocessing
import resource
import signal

import pytest

from apd.errors import Unreachable
from apd.store import Candidate, Stream
from tests.store.samples import learn

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.store.processes", "tests.store.same", "apd.store.upkeep", "sklearn.cluster"])


def commit(url: str, candidate: Candidate) -> None:
    Stream.open(url).commit_candidate(candidate)


def learn_with_a_full_disk(url: str) -> None:
    """No file may become larger than 500 bytes."""
    stream = Stream.open(url)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
    with pytest.raises(Unreachable, match="cannot be written: File too large"):
        learn(stream, "b", 2)
