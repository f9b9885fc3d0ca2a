"""What somebody else put into a stream's folder: named by `verify`, in nobody's way, and never removed."""

from pathlib import Path

import pytest

from apd.store import Stream
from apd.store.history import version_key
from apd.store.upkeep import collect, fork, usage, verify
from tests.store.samples import learn, learn_four

pytestmark = pytest.mark.parametrize("url", ["folder", "memory"], indirect=True)

STRANGERS = (
    "versions/README.txt",
    "versions/3.json",
    "versions/old/00000003.json",
    "arrivals/00000001.json.bak",
    "blobs/README.txt",
    "blobs/ab/notes",
    "collected/.keep",
    "pins/README.txt",
    "attempts/README.txt",
    "evaluations/mine.json",
)
UNSEEN = ("README.txt", ".DS_Store", "inbox/README.txt", "tasks/README.txt", "tasks/a/README.txt", "probes/notes.md")
"""Where nothing is looked for."""


@pytest.fixture
def grown(stream: Stream, tmp_path: Path) -> Stream:
    learn_four(stream, tmp_path)
    return stream


def test_they_are_named_in_nobodys_way_and_never_removed(grown: Stream, tmp_path: Path) -> None:
    before = usage(grown)
    for key in (*STRANGERS, *UNSEEN):
        grown.objects.put(key, b"hello")
    assert {**usage(grown).by_task, "a": before.by_task["a"]} == before.by_task
    assert usage(grown).by_version == before.by_version
    assert learn(grown, "e", 5).number == 5
    assert grown.inbox.complete() == grown.inbox.incomplete() == []
    collect(grown, keep=1, grace=0)
    assert all(grown.objects.read(key) == b"hello" for key in (*STRANGERS, *UNSEEN))
    problems = verify(grown).problems
    assert len(problems) == len(STRANGERS)
    for key in STRANGERS:
        assert any(grown.objects.where(key) in problem for problem in problems), key
    assert verify(fork(grown, 5, str(tmp_path / "fork"))).problems == ()


def test_a_damaged_version_is_the_only_one_that_is_called_damaged(grown: Stream) -> None:
    grown.objects.put(version_key(2), grown.objects.read(version_key(2))[:100])
    (problem,) = verify(grown).problems
    assert f"{version_key(2)}, 100 bytes, is not a document of this store" in problem
    assert "restore it from a copy of the stream; `apd verify` names all that is damaged" in problem


def test_a_rejected_folder_without_a_readable_reason_is_listed(grown: Stream) -> None:
    for name, data in {"a": b"hello", "b": b"[]", "c": b"{}"}.items():
        grown.objects.put(f"rejected/{name}/reason.json", data)
    reasons = grown.inbox.rejected()
    assert list(reasons) == ["a", "b", "c"]
    assert all(f"rejected/{name}/reason.json gives no reason" in reason for name, reason in reasons.items())
