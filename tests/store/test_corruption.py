"""Bytes that change after they were written: an error that names the object, never a wrong answer."""

import random
import uuid
from collections.abc import Callable, Iterator

import pytest

from apd.errors import ApdError, CorruptObject
from apd.state import Snapshot
from apd.store import Stream
from apd.store.formats import encode_document
from apd.store.history import version_key
from apd.store.upkeep import plan_collection, verify
from tests.store.counts import count
from tests.store.same import same_state, same_tensors
from tests.store.samples import CONFIG, consolidated, info_of, learn, proposal_of, write_task_folder

pytestmark = pytest.mark.faults

UNCHECKED = ("reports/", "rejected/", "inbox/")
"""For people, or not the stream's yet."""

OPTIONAL = ("head.json", "evaluations/", "comparisons/", "attempts/", "forgotten/", "pins/", "collected/", "refused/")
"""What may be missing without harm."""


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """A stream with an object of every kind."""
    stream = Stream.create(f"memory://{uuid.uuid4().hex}", CONFIG)
    folder = stream.inbox.submit(write_task_folder(tmp_path_factory.mktemp("data") / "z", "z"))
    stream.inbox.accept(folder, info_of("z"))
    for seed, name in enumerate("abcdefghij"):
        learn(stream, name, seed)
    version = consolidated(stream)
    stream.refusals.keep_consolidation(proposal_of(stream), ["because"], {"a": (0.9, 0.5)})
    stream.commit_forget("b")
    learn(stream, "k", 20)
    stream.save_attempt("z", Snapshot(stream.load_sigma(version.sigma), {"epoch": 1}), base=3)
    stream.evaluations.put(version.entries[0].theta_key, {"test_accuracy": 0.5})
    stream.comparisons.put("a", {"separate": 0.5})
    stream.marks.pin(3)
    stream.marks.collect(1)
    return stream


@pytest.fixture
def damaged(grown: Stream) -> Iterator[Callable[[str, bytes | None], None]]:
    """Replaces or removes objects; puts them back afterwards."""
    saved: dict[str, bytes] = {}

    def damage(key: str, data: bytes | None) -> None:
        if key not in saved:
            saved[key] = grown.objects.read(key)
        if data is None:
            grown.objects.delete(key)
        else:
            grown.objects.put(key, data)

    yield damage
    for key, data in saved.items():
        grown.objects.put(key, data)


def checked_keys(stream: Stream) -> list[str]:
    """Every object that something relies on."""
    unneeded = {blob.key for blob in plan_collection(stream, keep=100, grace=0).blobs}
    keys = [item.key for item in stream.objects.list("") if not item.key.startswith(UNCHECKED)]
    return [key for key in keys if key not in unneeded]


def problems(stream: Stream) -> tuple[str, ...]:
    try:
        return verify(stream).problems
    except ApdError as error:
        return (str(error),)


def names(problem: str, key: str) -> bool:
    """Whether it names the object, or the version or arrival that it is."""
    last = key.rsplit("/", 1)[-1]
    return last in problem or str(int(last[:8])) in problem if last[:8].isdigit() else last in problem


def flip(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def test_the_whole_stream_is_clean_and_has_everything(grown: Stream) -> None:
    assert verify(grown).problems == ()
    areas = {key.split("/")[0] for key in checked_keys(grown)}
    needed = {"blobs", "versions", "names", "arrivals", "tasks", "stream.json"}
    assert areas == needed | {area.strip("/") for area in OPTIONAL}


def broken(number: int, key: str, data: bytes, chance: random.Random) -> dict[str, bytes | None]:
    """Ways in which the object is damaged: each in a bit, every fifth cut, every second removed."""
    ways: dict[str, bytes | None] = {"flipped": flip(data, chance)}
    if number % 5 == 0:
        ways["cut"] = data[: len(data) // 2]
    if number % 2 == 0 and not key.startswith(OPTIONAL):
        ways["removed"] = None
    return ways


def test_damage_to_any_object_is_found_and_named(grown: Stream, damaged: Callable[[str, bytes | None], None]) -> None:
    chance, missed = random.Random(0), []
    for number, key in enumerate(checked_keys(grown)):
        original = grown.objects.read(key)
        for way, data in broken(number, key, original, chance).items():
            damaged(key, data)
            if not any(names(problem, key) for problem in problems(grown)):
                missed.append((key, way))
            count("objects with a flipped bit, cut or removed: each found and named")
            damaged(key, original)
    assert missed == []


def test_a_damaged_blob_is_an_error_or_is_not_used(grown: Stream, damaged: Callable[[str, bytes | None], None]) -> None:
    head, chance, errors = grown.head(), random.Random(1), {}
    states = {entry.name: grown.load_entry(entry) for entry in head.entries}
    arrival = grown.arrival(head)
    for key in [key for key in checked_keys(grown) if key.startswith("blobs/")]:
        original = grown.objects.read(key)
        damaged(key, flip(original, chance))
        opened = Stream.open(grown.url)
        try:
            version = opened.head()
            assert all(same_state(opened.load_task(version, name), state) for name, state in states.items())
            assert same_tensors(opened.arrival(version).pull, arrival.pull)
        except CorruptObject as error:
            errors[key] = str(error)
        damaged(key, original)
    assert len(errors) > 20
    count("damaged blobs read: each an error that names the blob", len(errors))
    assert all(key in message for key, message in errors.items())


def test_a_damaged_old_or_absent_hint_is_only_slower(
    grown: Stream, damaged: Callable[[str, bytes | None], None]
) -> None:
    head = grown.head()
    for hint in (b"garbage", encode_document("head", {"number": 1}), None):
        damaged("head.json", hint)
        assert Stream.open(grown.url).head() == head


def test_a_lost_version_is_not_replaced_by_the_next_commit(
    grown: Stream, damaged: Callable[[str, bytes | None], None]
) -> None:
    number = grown.head().number
    damaged(version_key(number), None)
    with pytest.raises(CorruptObject, match=f"names version {number} but the newest that is there is {number - 1}"):
        learn(Stream.open(grown.url), "new", 30)


def test_a_version_under_another_number_is_refused(grown: Stream, damaged: Callable[[str, bytes | None], None]) -> None:
    damaged(version_key(4), grown.objects.read(version_key(3)))
    with pytest.raises(CorruptObject, match=r"00000004\.json holds version 3"):
        Stream.open(grown.url).version(4)
