"""What is kept of a stream's growth is what measuring all of it anew finds; an arrival looks at itself alone."""

from collections.abc import Callable

import pytest

from apd.overview import Growth, growth, is_due
from apd.store import Stream
from apd.store.upkeep import rollback
from tests.overview.small_streams import SHARING, learner, samples


def anew(stream: Stream) -> Growth:
    """Of the newest version, as found by somebody who knows nothing yet."""
    fresh = Stream.open(stream.url)
    kept = fresh.sizes.get("history")
    fresh.sizes.remove("history")
    found = growth(fresh, fresh.head())
    if kept is not None:
        fresh.sizes.put("history", kept)
    return found


def reads_of(stream: Stream, work: Callable[[Stream], object], monkeypatch: pytest.MonkeyPatch) -> int:
    """Objects that it reads or asks for, by a process that has read none yet."""
    fresh, asked = Stream.open(stream.url), list[str]()
    read, stat = fresh.objects.read, fresh.objects.stat
    monkeypatch.setattr(fresh.objects, "read", lambda key: (asked.append(key), read(key))[1])
    monkeypatch.setattr(fresh.objects, "stat", lambda key: (asked.append(key), stat(key))[1])
    work(fresh)
    return len(asked)


def test_after_every_change_it_is_what_measuring_anew_finds():
    made = learner(1, **SHARING)
    stream = made.stream
    changes: list[Callable[[], object]] = [
        lambda: made.learn("second", samples(5)),
        lambda: made.learn("third", samples(6)),  # and consolidates
        lambda: made.learn("fourth", samples(7)),
        lambda: rollback(stream, 3),
        lambda: made.learn("fifth", samples(8)),  # and consolidates
    ]
    for change in changes:
        change()
        head = stream.head()
        assert growth(stream, head) == anew(stream)
        assert growth(stream, head).capacity[-1].version == head.number
    kinds = [point.kind for point in growth(stream, stream.head()).capacity]
    assert kinds == ["learn", "learn", "learn", "rollback", "learn", "consolidate"]


def test_what_a_consolidation_cost_is_told_though_it_was_measured_later():
    made = learner(3, **SHARING)
    stream, head = made.stream, made.stream.head()
    assert head.kind == "consolidate"
    measured = {entry.theta_key: stream.evaluations.get(entry.theta_key) for entry in head.entries}
    for key in measured:
        stream.evaluations.remove(key)
    (row,) = growth(stream, head).consolidations
    assert row.largest_drop is None
    for key, record in measured.items():
        stream.evaluations.put(key, record)
    assert growth(stream, head).consolidations[0].largest_drop is not None
    assert growth(stream, head) == anew(stream)


def test_what_is_kept_of_another_stream_with_the_same_numbers_is_not_taken():
    first, second = learner(2), learner(3)
    growth(first.stream, first.stream.head())
    second.stream.sizes.put("history", first.stream.sizes.get("history"))
    assert growth(second.stream, second.stream.head()) == anew(second.stream)


def test_an_older_version_is_shown_as_far_as_it_goes_and_nothing_is_lost():
    made = learner(3, **SHARING)
    stream = made.stream
    whole = growth(stream, stream.head())
    assert growth(stream, stream.version(2)).capacity == whole.capacity[:2]
    kept = stream.sizes.get("history")
    assert len(kept["points"]) == len(whole.capacity) == 4
    assert growth(stream, stream.head()) == whole


@pytest.mark.parametrize("question", [lambda stream: growth(stream, stream.head()), is_due], ids=["growth", "is_due"])
def test_an_arrival_reads_the_same_however_many_came_before(
    question: Callable[[Stream], object], monkeypatch: pytest.MonkeyPatch
):
    made, counts = learner(0), []
    for number in range(8):
        made.learn(f"task-{number}", samples(number))
        counts.append(reads_of(made.stream, question, monkeypatch))
    assert len(set(counts[2:])) == 1
    assert counts[-1] <= 12
