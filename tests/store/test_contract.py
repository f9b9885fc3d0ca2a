"""What every place has to do, whoever runs it: one suite for a folder, memory and S3."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from apd.decomposition import compose, unit_mask
from apd.errors import AlreadyExists, NotFound, StoreError, TaskRejected, UnknownTask
from apd.state import Snapshot
from apd.store import Candidate, Stream
from apd.store.objects import Objects
from apd.store.upkeep import verify
from tests.store.counts import count
from tests.store.same import same_snapshot, same_state
from tests.store.samples import CONFIG, candidate_of, info_of, learn, learned_on, write_task_folder


def test_objects_are_written_read_listed_copied_and_deleted(objects: Objects, tmp_path: Path) -> None:
    objects.create("a/one", b"1")
    objects.put("a/b/two", b"22")
    objects.copy("a/one", "c/three")
    (tmp_path / "file").write_bytes(b"4444")
    objects.upload(tmp_path / "file", "c/four")
    assert {item.key: item.size for item in objects.list("")} == {"a/one": 1, "a/b/two": 2, "c/three": 1, "c/four": 4}
    assert [item.key for item in objects.list("c/")] == ["c/four", "c/three"]
    assert objects.read("c/three") == b"1"
    with objects.open("c/four") as file:
        file.seek(2)
        assert file.read() == b"44"
    objects.delete("a/one")
    objects.delete("a/one")
    assert not objects.exists("a/one")
    assert objects.exists("c/four")


def test_keys_are_taken_as_they_are(objects: Objects) -> None:
    keys = ["a/x", "ab/x", "a/b/x", "a/My folder (1)/\u00e4 + 100%.txt", "a/.hidden", "a/x.y"]
    for key in keys:
        objects.put(key, key.encode())
    assert sorted(item.key for item in objects.list("a/")) == sorted(key for key in keys if key != "ab/x")
    assert all(objects.read(key) == key.encode() for key in keys)


def test_a_long_upload_tells_how_far_it_is(objects: Objects, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(9_000_000))
    pieces: list[int] = []
    objects.upload(tmp_path / "file", "x", pieces.append)
    assert sum(pieces) == objects.stat("x").size == 9_000_000


def test_a_missing_object_is_not_found(objects: Objects) -> None:
    with pytest.raises(NotFound, match="nothing/here"):
        objects.read("nothing/here")


def test_create_refuses_other_content_and_accepts_the_same(objects: Objects) -> None:
    objects.create("x", b"mine")
    objects.create("x", b"mine")
    with pytest.raises(AlreadyExists, match="x already exists"):
        objects.create("x", b"yours")
    assert objects.read("x") == b"mine"


@pytest.mark.parametrize("key", ["", "/x", "a//b", "a/../b", "./x", "a\\b", "x/"])
def test_a_key_that_leaves_the_prefix_is_refused(objects: Objects, key: str) -> None:
    with pytest.raises(StoreError, match="no key"):
        objects.put(key, b"1")


def test_an_empty_object_is_refused(objects: Objects) -> None:
    with pytest.raises(StoreError, match="empty"):
        objects.create("x", b"")


def test_one_of_many_racing_creators_wins(objects: Objects) -> None:
    objects.require_put_if_absent()
    assert list(objects.list("probes/")) == []


def test_a_stream_is_created_once_and_opened_anywhere(stream: Stream) -> None:
    opened = Stream.open(stream.url)
    assert (opened.config, opened.head()) == (CONFIG, stream.head())
    assert opened.head().number == 0
    with pytest.raises(AlreadyExists, match="stream in"):
        Stream.create(stream.url, CONFIG)


def test_opening_nothing_says_what_to_run(url: str) -> None:
    with pytest.raises(NotFound, match="apd init"):
        Stream.open(url)


def test_a_learned_task_comes_back_bit_for_bit(stream: Stream) -> None:
    base = stream.head()
    learned = learned_on(stream.arrival(base), "shoes", seed=1)
    number = stream.inbox.register(info_of("shoes"))
    candidate = stream.write_candidate(
        learned, base=base, info=info_of("shoes"), metrics={"seconds": 2.0}, arrival=number
    )
    version = stream.commit_candidate(candidate)
    loaded = Stream.open(stream.url).load_task(version, "shoes")
    assert same_state(loaded, learned.task)
    entry = version.entry("shoes")
    assert (entry.learned_in, entry.based_on, entry.seconds, entry.validation_accuracy) == (1, 0, 2.0, 0.9)


def test_earlier_tasks_keep_their_bits_when_sigma_moves(stream: Stream) -> None:
    learn(stream, "a", 1)
    before = compose(stream.load_task(stream.head(), "a"))
    for seed, name in enumerate("bcd", start=2):
        learn(stream, name, seed)
    after = compose(Stream.open(stream.url).load_task(stream.head(), "a"))
    assert all(before[name].equal(after[name]) for name in before)


def test_the_same_candidate_twice_is_one_version(stream: Stream) -> None:
    candidate = candidate_of(stream, stream.head(), "a")
    first = stream.commit_candidate(candidate)
    learn(stream, "b", 2)
    assert stream.commit_candidate(candidate).number == first.number
    assert stream.head().number == 2


def test_a_lost_race_is_rebased_exactly(stream: Stream) -> None:
    learn(stream, "a", 1)
    base = stream.head()
    sigma = stream.arrival(base).sigma
    steps = [learned_on(stream.arrival(base), name, seed) for name, seed in (("b", 2), ("c", 3))]
    candidates = [candidate_of(stream, base, name, seed) for name, seed in (("b", 2), ("c", 3))]
    for candidate in candidates:
        stream.commit_candidate(candidate)
    head = Stream.open(stream.url).head()
    moved = stream.load_sigma(head.sigma)
    for name, tensor in sigma.items():
        expected = steps[1].sigma_step[name].add_to(steps[0].sigma_step[name].add_to(tensor))
        assert moved[name].equal(expected)
    assert all(same_state(stream.load_task(head, step.task.name), step.task) for step in steps)
    assert stream.arrival(head).earlier == 3


def test_statistics_do_not_depend_on_who_was_rebased(stream: Stream) -> None:
    base = stream.head()
    for candidate in [candidate_of(stream, base, name, seed) for name, seed in (("a", 1), ("b", 2))]:
        stream.commit_candidate(candidate)
    masks = [unit_mask(stream.load_task(stream.head(), name).mask_logits["first.weight"]) for name in "ab"]
    assert stream.arrival(stream.head()).pull["first.weight"].equal(masks[0] + masks[1])


@pytest.mark.faults
def test_eight_concurrent_committers_make_a_serial_history(stream: Stream) -> None:
    base = stream.head()
    candidates = [candidate_of(stream, base, f"task-{seed}", seed) for seed in range(8)]

    def commit(candidate: Candidate) -> int:
        return Stream.open(stream.url).commit_candidate(candidate).number

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(commit, candidates))
    assert sorted(numbers) == list(range(1, 9))
    log = list(Stream.open(stream.url).log(newest_first=False))
    assert [version.parent for version in log] == [None, *range(8)]
    assert [len(version.entries) for version in log] == list(range(9))
    assert log[-1].watermark == 8
    assert verify(stream).problems == ()
    count("commits acknowledged, each found once", 8)


def test_a_stream_survives_pickling(stream: Stream) -> None:
    learn(stream, "a")
    assert pickle.loads(pickle.dumps(stream)).head() == stream.head()


def test_an_attempt_is_replaced_loaded_and_cleared(stream: Stream) -> None:
    state = learned_on(stream.arrival(stream.head()), "a").task
    stream.inbox.register(info_of("a"))
    assert stream.load_attempt("a") is None
    stream.save_attempt("a", Snapshot(state.sigma, {"epoch": 1}))
    stream.save_attempt("a", Snapshot(state.private, {"epoch": 2, "nested": {"x": [1, None]}}), base=4)
    loaded = Stream.open(stream.url).load_attempt("a")
    assert same_snapshot(loaded, Snapshot(state.private, {"epoch": 2, "nested": {"x": [1, None]}, "base": 4}))
    stream.clear_attempt("a")
    assert stream.load_attempt("a") is None


def test_the_base_of_an_attempt_is_decided_once_until_it_is_cleared(stream: Stream) -> None:
    assert stream.begin_attempt("a", 3) == 3
    assert Stream.open(stream.url).begin_attempt("a", 7) == 3
    assert stream.begin_attempt("b", 7) == 7
    stream.clear_attempt("a")
    assert stream.begin_attempt("a", 8) == 8


def test_evaluations_are_kept_by_theta_key(stream: Stream) -> None:
    assert stream.evaluations.get("0" * 64) is None
    stream.evaluations.put("0" * 64, {"test_accuracy": 0.5})
    assert stream.evaluations.get("0" * 64) == {"test_accuracy": 0.5}


def test_a_submitted_folder_becomes_an_arrival_once(stream: Stream, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    folder = stream.inbox.submit(write_task_folder(tmp_path / "shoes", "shoes"), lambda *told: seen.append(told))
    total = sum(file.stat().st_size for file in (tmp_path / "shoes").iterdir())
    assert seen[-1] == (total, total)
    assert (stream.inbox.complete(), stream.inbox.incomplete()) == (["shoes"], [])
    assert stream.inbox.knows("shoes")
    assert stream.inbox.accept(folder, info_of("shoes")) == 1
    assert stream.inbox.complete() == []
    assert stream.task_folder("shoes").names() == ["task.json", "train.parquet"]
    with stream.task_folder("shoes").open("train.parquet") as file:
        assert file.read() == (tmp_path / "shoes" / "train.parquet").read_bytes()
    again = stream.inbox.submit(tmp_path / "shoes")
    assert stream.inbox.accept(again, info_of("shoes")) == 1
    assert [item.task for item in stream.inbox.waiting()] == ["shoes"]
    learn_waiting(stream, "shoes")
    assert stream.inbox.waiting() == []


def learn_waiting(stream: Stream, name: str) -> None:
    learned = learned_on(stream.arrival(stream.head()), name)
    candidate = stream.write_candidate(learned, base=stream.head(), info=stream.task_info(name), metrics={})
    stream.commit_candidate(candidate)


def test_other_data_under_a_taken_name_is_rejected(stream: Stream, tmp_path: Path) -> None:
    first = stream.inbox.submit(write_task_folder(tmp_path / "one", "shoes"))
    second = stream.inbox.submit(write_task_folder(tmp_path / "two", "shoes", rows=10))
    stream.inbox.accept(first, info_of("shoes"))
    with pytest.raises(TaskRejected, match="other data") as caught:
        stream.inbox.accept(second, info_of("shoes"))
    stream.inbox.reject(second, str(caught.value))
    assert stream.inbox.complete() == []
    assert list(stream.inbox.rejected()) == ["two"]
    assert "other data" in stream.inbox.rejected()["two"]


def test_a_folder_without_its_description_is_incomplete(stream: Stream, tmp_path: Path) -> None:
    folder = write_task_folder(tmp_path / "shoes", "shoes")
    stream.objects.upload(folder / "train.parquet", "inbox/shoes/train.parquet")
    assert (stream.inbox.complete(), stream.inbox.incomplete()) == ([], ["shoes"])


def test_a_forgotten_task_is_gone_from_every_version(stream: Stream, tmp_path: Path) -> None:
    learn(stream, "a", 1)
    folder = stream.inbox.submit(write_task_folder(tmp_path / "b", "b"))
    stream.inbox.accept(folder, info_of("b"))
    learn_waiting(stream, "b")
    learn(stream, "c", 3)
    before = stream.head()
    kept = {name: stream.load_task(before, name) for name in "ac"}
    version = stream.commit_forget("b")
    assert [entry.name for entry in version.entries] == ["a", "c"]
    assert version.entries == tuple(entry for entry in before.entries if entry.name != "b")
    assert all(same_state(Stream.open(stream.url).load_task(version, name), kept[name]) for name in "ac")
    for number in (2, 3):
        with pytest.raises(UnknownTask, match="'b' was forgotten in version 4"):
            stream.load_task(stream.version(number), "b")
    assert not any("/b/" in item.key or item.key == "names/b.json" for item in stream.objects.list(""))
    assert stream.commit_forget("b").number == 4


def test_an_unknown_task_names_what_comes_near(stream: Stream) -> None:
    learn(stream, "shoes")
    with pytest.raises(UnknownTask, match="did you mean shoes"):
        stream.head().entry("shoe")
