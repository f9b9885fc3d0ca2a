"""Sizes from records are those counted on loaded tasks, and are measured once."""

from collections.abc import Iterator

import pytest

from apd.metrics import paper_capacity
from apd.networks import from_config
from apd.overview.capacity import Size, size
from apd.store import Stream, Version
from tests.overview.small_streams import SHARING, learner, samples


def measured(stream: Stream, version: Version) -> Size:
    return size(stream, version, {classes: from_config(stream.config).spec(classes) for classes in (2, 3)})


def counted(stream: Stream, version: Version) -> float:
    """The definition itself, on all tasks in memory."""
    tasks = [stream.load_entry(entry) for entry in version.entries]
    head = from_config(stream.config).spec(2).head
    return paper_capacity(tasks, stream.load_sigma(version.sigma), list(head))


@pytest.fixture(scope="module")
def stream() -> Iterator[Stream]:
    """Three tasks, a consolidation, and one more task on top."""
    made = learner(3, **SHARING)
    made.learn("last", samples(8))
    assert [version.kind for version in made.stream.log(limit=3)] == ["learn", "consolidate", "learn"]
    yield made.stream
    del made


def test_the_paper_capacity_is_that_of_the_definition_in_every_version(stream: Stream):
    versions = [version for version in stream.log() if version.entries]
    assert any(part for version in versions for entry in version.entries for part in stream.record(entry)["clusters"])
    found = [measured(stream, version).paper_capacity for version in versions]
    assert found == pytest.approx([counted(stream, version) for version in versions], rel=1e-12)


def test_bytes_are_those_of_all_blobs_that_the_tasks_are_read_from(stream: Stream, monkeypatch: pytest.MonkeyPatch):
    head, read = stream.head(), set()
    fresh = Stream.open(stream.url)
    original = fresh.objects.read

    def noted(key: str) -> bytes:
        read.add(key)
        return original(key)

    monkeypatch.setattr(fresh.objects, "read", noted)
    for entry in head.entries:
        fresh.load_entry(entry)
    fresh.arrival(head)
    fresh.clustering(head)
    blobs = {key for key in read if key.startswith("blobs/")}
    assert measured(stream, head).bytes == sum(fresh.objects.stat(key).size for key in blobs)


def test_a_size_is_measured_once_and_again_when_the_number_stands_for_another_version(stream: Stream):
    head = stream.head()
    right = measured(stream, head)
    known = stream.sizes.get(str(head.number))
    stream.sizes.put(str(head.number), {**known, "bytes": 1})
    assert measured(stream, head).bytes == 1
    stream.sizes.put(str(head.number), {**known, "bytes": 1, "commit_id": "of another stream"})
    assert measured(stream, head) == right
