"""A task larger than memory is trained from disk: to the bits of one in memory, by a process that stays small."""

import dataclasses
import multiprocessing
import os
import resource
import tempfile
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apd.actors import Evaluator, Trainer
from apd.config import LearningConfig, NetworkConfig, StreamConfig
from apd.data import LocalFolder, Split, TaskData, load_task, validate_task, write_task
from apd.data.spool import SpooledSplit, spool
from apd.errors import DataError
from apd.store import Candidate, Stream
from tests.actors import small
from tests.conftest import S3Server

MEMORY = 48 * 2**20
"""Bytes by which a process may grow over what it was before it trained."""

WIDTH = 1024
ROWS = 3 * MEMORY // WIDTH
WIDE = StreamConfig((WIDTH,), "uint8", NetworkConfig("mlp", {"hidden": [8]}), LearningConfig(epochs=2, batch_size=256))


def limited(config: StreamConfig, limit: int) -> StreamConfig:
    """With at most so many bytes of inputs in memory."""
    return dataclasses.replace(config, resources=dataclasses.replace(config.resources, data_in_memory=limit))


@pytest.fixture
def numbered(tmp_path: Path) -> Callable[[int], TaskData]:
    """Loads 103 numbered samples, which two chunks brought, with so many bytes of them in memory."""
    rows = np.arange(103, dtype=np.float32).reshape(-1, 1).repeat(2, axis=1)
    chunks = [(rows[start:end], np.arange(start, end) % 3) for start, end in ((0, 60), (60, 103))]
    write_task(tmp_path, "numbered", {"train": chunks}, ["a", "b", "c"])
    return lambda limit: load_task(LocalFolder(tmp_path), limited(StreamConfig((2,), "float32"), limit))


def test_a_task_is_on_disk_when_it_is_larger_than_the_limit(numbered: Callable[[int], TaskData]) -> None:
    size = 103 * 2 * 4
    assert isinstance(numbered(size).train, Split)
    assert isinstance(numbered(size - 1).train, SpooledSplit)


@pytest.mark.parametrize(("limit", "kind"), [(60, Split), (59, SpooledSplit)])
def test_what_counts_is_all_that_its_files_hold_together(tmp_path: Path, limit: int, kind: type) -> None:
    parts = {"train": 24, "validation": 18, "test": 18}
    chunks = {part: [(np.zeros((count, 1), np.uint8), np.arange(count) % 2)] for part, count in parts.items()}
    write_task(tmp_path, "parts", chunks)
    loaded = load_task(LocalFolder(tmp_path), limited(StreamConfig((1,), "uint8"), limit))
    assert [type(part) for part in (loaded.train, loaded.validation, loaded.test)] == [kind] * 3
    assert [len(part) for part in (loaded.train, loaded.validation, loaded.test)] == list(parts.values())


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_samples_on_disk_are_those_in_memory_in_the_same_order(numbered: Callable[[int], TaskData], part: str) -> None:
    kept, spooled = getattr(numbered(10**6), part), getattr(numbered(0), part)
    assert len(kept) == len(spooled) > 10
    assert kept.row_bytes == spooled.row_bytes == 8
    for batches in (lambda split: split.chunks(7), lambda split: split.batches(7, 1, 2)):
        for (inputs, labels), (found, named) in zip(batches(kept), batches(spooled), strict=True):
            assert torch.equal(inputs, found)
            assert torch.equal(labels, named)


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 3), st.integers(0, 3))
def test_every_row_is_in_one_batch_of_an_epoch(count: int, size: int, seed: int, epoch: int) -> None:
    rows = np.arange(count, dtype=np.float32)[:, None]
    samples = spool([(rows, np.arange(count))], count, (1,), "float32")
    inputs, labels = zip(*samples.batches(size, seed, epoch), strict=True)
    assert torch.equal(torch.cat(inputs).flatten().long(), torch.cat(labels))
    assert torch.cat(labels).sort().values.tolist() == list(range(count))


def test_some_of_the_samples_are_chosen_without_reading_any() -> None:
    samples = spool([(np.arange(6, dtype=np.uint8)[:, None], np.arange(6))], 6, (1,), "uint8")
    chosen = samples.take(torch.tensor([5, 0, 3])).take(torch.tensor([2, 0])).to("cpu")
    assert [inputs.flatten().tolist() for inputs, _ in chosen.chunks(1)] == [[3], [5]]
    assert chosen.labels.tolist() == [3, 5]


def test_a_file_that_was_cut_meanwhile_is_no_answer() -> None:
    samples = spool([(np.zeros((3, 4), np.uint8), np.zeros(3, np.int64))], 3, (4,), "uint8")
    os.ftruncate(samples.inputs._file, 6)
    assert samples.pick(torch.tensor([0])).tolist() == [[0] * 4]
    with pytest.raises(DataError, match="row 1 of the samples on disk has 2 bytes, expected 4"):
        samples.pick(torch.tensor([0, 1]))


def test_nothing_of_it_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    samples = spool([(np.zeros((2, 1), np.uint8), np.zeros(2, np.int64))], 2, (1,), "uint8")
    handles = len(os.listdir("/proc/self/fd"))
    assert list(tmp_path.iterdir()) == []
    del samples
    assert len(os.listdir("/proc/self/fd")) == handles - 1


def test_a_disk_without_room_is_refused_before_anything_is_read(
    numbered: Callable[[int], TaskData], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=823))
    with pytest.raises(DataError, match=r"take 824 bytes.*has room for 823; let TMPDIR name a folder on a larger disk"):
        numbered(0)


def test_a_disk_that_fills_up_is_told(numbered: Callable[[int], TaskData]) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))  # no file may become larger
    try:
        with pytest.raises(DataError, match="cannot be kept on disk: File too large; let TMPDIR"):
            numbered(0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_training_from_disk_gives_the_same_bits_also_when_it_is_resumed(tmp_path: Path) -> None:
    streams = [Stream.create(str(tmp_path / str(limit)), small.config(data_in_memory=limit)) for limit in (10**9, 0, 1)]
    for stream in streams:
        small.learn_here(stream, small.accept(stream, 0))
        small.accept(stream, 1)
    for event, _ in zip(Trainer(streams[2].url).learn("task-1", 1), range(3), strict=False):
        assert not isinstance(event, Candidate)
    for stream in streams:
        small.learn_here(stream, "task-1")
    kept, spooled, resumed = streams
    assert small.bits(kept) == small.bits(spooled) == small.bits(resumed)
    found = [[entry.test_accuracy for entry in stream.head().entries] for stream in streams]
    assert found[0] == found[1] == found[2]


def wide_chunks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Two classes that differ in brightness."""
    chance = np.random.RandomState(0)
    while True:
        labels = chance.randint(0, 2, 4096)
        yield np.repeat((labels * 99 + chance.randint(0, 99, 4096)).astype(np.uint8)[:, None], WIDTH, axis=1), labels


@pytest.fixture
def wide(tmp_path: Path, moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A stream in a bucket in which two tasks have arrived, one of three times MEMORY and one of little."""
    for name, value in moto_server.environment.items():
        monkeypatch.setenv(name, value)
    stream = Stream.create(f"{moto_server.bucket()}/stream", limited(WIDE, MEMORY // 8))
    for name, count in (("small", 1), ("wide", ROWS // 4096)):
        write_task(tmp_path / name, name, {"train": islice(wide_chunks(), count)}, ["dark", "bright"])
        stream.inbox.accept(stream.inbox.submit(tmp_path / name), validate_task(LocalFolder(tmp_path / name), WIDE))
    return stream.url


def measured(kind: str) -> int:
    """A line of this process's status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:"))


def hold_to_memory() -> None:
    """From here on this process cannot allocate more than MEMORY."""
    limit = measured("VmData") + MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def train_in_little_memory(url: str) -> None:
    threading.stack_size(2**18)  # of the 8 MiB that a thread reserves it uses next to nothing
    trainer = Trainer(url)
    *_, first = trainer.learn("small", 0)  # what is imported, started and probed once is no part of the measurement
    assert isinstance(first, Candidate)
    trainer.stream.commit_candidate(first)
    before = measured("VmHWM")
    hold_to_memory()
    with pytest.raises(MemoryError):
        load_task(trainer.stream.task_folder("wide"), limited(WIDE, 10**9))
    *_, candidate = trainer.learn("wide", 1)
    assert isinstance(candidate, Candidate)
    version = trainer.stream.commit_candidate(candidate)
    trainer.stream.evaluations.remove(candidate.entry.theta_key)
    found = Evaluator(url).evaluate(version.entries[-1])
    assert found.test_accuracy == candidate.entry.test_accuracy > 0.9
    assert measured("VmHWM") - before < MEMORY


def test_a_task_three_times_larger_than_memory_is_trained_and_evaluated(wide: str) -> None:
    process = multiprocessing.get_context("spawn").Process(target=train_in_little_memory, args=(wide,))
    process.start()
    process.join()
    assert process.exitcode == 0
