"""Sizes from records are those counted on loaded tasks."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from apd.metrics import paper_capacity
from apd.networks import from_config
from apd.overview.capacity import Counts, Specs, count, count_learned
from apd.store import Stream, Version
from tests.overview.small_streams import SHARING, learner, samples


def specs(stream: Stream) -> Specs:
    return {classes: from_config(stream.config).spec(classes) for classes in (2, 3)}


def measured(stream: Stream, version: Version) -> Counts:
    return count(stream, version, specs(stream))


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
    found = [measured(stream, version).paper_capacity(version, specs(stream)) for version in versions]
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


def test_a_learned_task_adds_to_the_counts_what_counting_all_tasks_finds(stream: Stream):
    versions = [version for version in stream.log(newest_first=False) if version.entries]
    pairs = list(pairwise(versions))
    found = [count_learned(stream, new, old, measured(stream, old), specs(stream)) for old, new in pairs]
    assert [version.kind for _, version in pairs] == ["learn", "learn", "consolidate", "learn"]
    assert found[1] == measured(stream, pairs[1][1])
    assert found[3] == measured(stream, pairs[3][1])


def test_what_moved_sigma_or_regrouped_tasks_has_to_be_counted_anew(stream: Stream):
    _, two, three, consolidated, _ = versions = [stream.version(number) for number in range(1, 6)]
    moved = [new for old, new in pairwise(versions) if new.sigma != old.sigma]
    assert moved == [two]  # the second task adjusts what the first one alone has made
    for new, old in ((two, versions[0]), (consolidated, three), (consolidated, two)):
        assert count_learned(stream, new, old, measured(stream, old), specs(stream)) is None
