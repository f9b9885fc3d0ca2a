"""A fork goes its own way, from whatever version, and into no place that holds anything else."""

from pathlib import Path

import pytest

from apd.errors import AlreadyExists, NotFound
from apd.store import Stream
from apd.store.upkeep import fork, rollback, verify
from tests.store.same import same_state
from tests.store.samples import CONFIG, consolidated, everything, grow, learn

pytestmark = pytest.mark.parametrize("url", ["folder", "memory"], indirect=True)


@pytest.fixture
def grown(stream: Stream, tmp_path: Path) -> Stream:
    """What `grow` makes."""
    grow(stream, tmp_path)
    return stream


@pytest.mark.parametrize("number", [3, 6])
def test_a_fork_goes_its_own_way(grown: Stream, tmp_path: Path, number: int) -> None:
    source = grown.version(number)
    before = everything(grown)
    told: list[tuple[int, int]] = []
    forked = fork(grown, number, str(tmp_path / "fork"), progress=lambda *now: told.append(now))
    copied = [listed for listed in forked.objects.list("") if not listed.key.startswith(("collected/", "stream.json"))]
    assert told[-1] == (sum(listed.size for listed in copied),) * 2
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len(told) == len(copied)
    assert verify(forked).problems == ()
    assert forked.head().entries == source.entries
    for entry in source.entries:
        assert same_state(forked.load_task(forked.head(), entry.name), grown.load_task(source, entry.name))
    assert forked.task_folder("a").names() == ["task.json", "train.parquet"]
    learn(forked, "z", 11)
    assert verify(forked).problems == ()
    assert forked.head().watermark == source.watermark + 1
    changed = {key for key, data in everything(grown).items() if before.get(key) != data}
    assert changed == {f"pins/{number:08d}.json"}
    with pytest.raises(AlreadyExists, match="fork to another place"):
        fork(grown, number, str(tmp_path / "fork"))


def test_a_fork_of_a_forgotten_task_has_nothing_of_it(grown: Stream, tmp_path: Path) -> None:
    grown.commit_forget("b")
    told: list[tuple[int, int]] = []
    forked = fork(grown, 6, str(tmp_path / "fork"), progress=lambda *now: told.append(now))
    head = forked.head()
    assert (head.number, head.kind, [entry.name for entry in head.entries]) == (7, "rollback", [*"acde"])
    assert head.details["forgotten"] == ["b"]
    assert all(same_state(forked.load_task(head, name), grown.load_task(grown.head(), name)) for name in "acde")
    assert [entry.name for entry in consolidated(forked).entries] == [*"acde"]
    learn(forked, "z", 11)
    assert forked.arrival(forked.head()).earlier == 5
    with pytest.raises(NotFound, match="version 6 was removed"):
        rollback(forked, 6)
    assert verify(forked).problems == ()


@pytest.mark.parametrize("forgotten", [False, True])
def test_an_interrupted_fork_is_repeated_but_not_as_another_version(
    grown: Stream, tmp_path: Path, forgotten: bool
) -> None:
    if forgotten:
        grown.commit_forget("b")
    place = str(tmp_path / "fork")
    fork(grown, 5, place).objects.delete("stream.json")  # which is written last
    with pytest.raises(AlreadyExists, match=r"holds arrivals/00000004\.json already.*fork to another place"):
        fork(grown, 3, place)
    with pytest.raises(AlreadyExists, match=r"versions/00000001\.json of a stream that was not copied to its end"):
        Stream.create(place, CONFIG)
    forked = fork(grown, 5, place)
    assert [entry.name for entry in forked.head().entries] == (["a", "c", "d"] if forgotten else [*"abcd"])
    assert verify(forked).problems == ()


def test_a_fork_does_not_mix_with_what_is_there(grown: Stream, tmp_path: Path) -> None:
    (tmp_path / "fork").mkdir()
    (tmp_path / "fork" / "notes.txt").write_text("mine")
    with pytest.raises(AlreadyExists, match=r"holds notes\.txt already"):
        fork(grown, 3, str(tmp_path / "fork"))
