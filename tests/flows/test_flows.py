"""The flows on a real Prefect and a real Ray, with tasks that train in a fraction of a second."""

import shutil
import time
from pathlib import Path
from uuid import uuid4

import pytest
import torch
from prefect.client.orchestration import get_client

from apd import overview
from apd.actors import Trainer
from apd.decomposition import bare_state
from apd.errors import ApdError, NotFound, UnknownTask
from apd.store import Proposal, Stream
from flows.consolidate import consolidate
from flows.evaluate import evaluate
from flows.forget import forget
from flows.ingest import ingest
from flows.learn import learn
from flows.names import artifact_key, stream_key
from flows.report import report
from flows.run import run
from tests.flows.small_tasks import bits, copy, create, demanding, names, rewound, submit

FIRST, SECOND, THIRD, FOURTH = names(4)


def is_logged(text: str) -> bool:
    """Whether flows have sent a message with this text to the server, or do so soon: they send many at a time."""
    end = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while time.monotonic() < end:
            lines = client.request("POST", "/logs/filter", json={"limit": 200, "sort": "TIMESTAMP_DESC"}).json()
            if any(text in line["message"] for line in lines):
                return True
            time.sleep(0.1)
    return False


def artifact(key: str) -> str:
    """What the newest artifact of that key holds."""
    with get_client(sync_client=True) as client:
        return client.request("GET", "/artifacts/{key}/latest", path_params={"key": key}).json()["data"]


def told(event: str, stream: Stream) -> dict:
    """What the newest event of that name says of the stream, as soon as the server has it."""
    about = {"event": {"name": [event]}, "resource": {"id": [f"apd.stream.{stream_key(stream.url)}"]}}
    end = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while time.monotonic() < end:
            found = client.request("POST", "/events/filter", json={"filter": about}).json()["events"]
            if found:
                return found[0]["payload"]
            time.sleep(0.1)
    raise AssertionError(f"no {event} of {stream.url}")


def test_ingest_accepts_in_order_and_rejects_with_the_reason(prefect: None, tmp_path: Path):
    stream = create(tmp_path / "ingested")
    submit(stream, 0)
    submit(stream, 1, name="broken")
    stream.objects.put("inbox/broken/train.parquet", b"no Parquet at all")
    submit(stream, 2)
    stream.objects.put("inbox/half/train.parquet", b"the rest follows")
    assert ingest(stream.url) == [FIRST, THIRD]
    assert stream.inbox.incomplete() == ["half"]
    assert stream.inbox.complete() == []
    reason = stream.inbox.rejected()["broken"]
    assert "train.parquet" in reason
    assert is_logged(f"rejected broken: {reason}")
    assert stream.objects.read("rejected/broken/train.parquet") == b"no Parquet at all"


def test_a_name_that_is_taken_is_rejected_and_the_same_task_again_is_not(prefect: None, tmp_path: Path):
    stream = create(tmp_path / "twice")
    submit(stream, 0)
    assert ingest(stream.url) == [FIRST]
    submit(stream, 0)
    assert ingest(stream.url) == [FIRST]
    assert stream.inbox.rejected() == {}


def test_run_learns_what_waits_in_order_and_consolidates_when_due(learned: Stream):
    versions = list(learned.log(newest_first=False))
    assert [version.kind for version in versions] == ["create", "learn", "learn", "learn", "consolidate"]
    assert [entry.name for entry in versions[-1].entries] == names(3)
    assert [entry.based_on for entry in versions[-1].entries] == [0, 1, 2]
    assert learned.inbox.waiting() == []
    for version in versions:
        for entry in version.entries:
            measured = learned.evaluations.get(entry.theta_key)
            assert 0.3 < measured["test_accuracy"] <= 1.0


def test_run_leaves_a_report_of_the_newest_version(learned: Stream):
    page = learned.objects.read(learned.report_key(learned.head().number)).decode()
    assert all(name in page for name in names(3))
    assert "<script src" not in page


def test_run_with_nothing_waiting_learns_nothing(learned: Stream):
    before = learned.head().number
    assert run(learned.url) == []
    assert learned.head().number == before


def test_learning_twice_is_learning_once(learned: Stream, tmp_path: Path):
    stream = copy(learned, tmp_path / "again")
    before = stream.head()
    assert learn(stream.url, SECOND) is None
    assert stream.head() == before


def test_a_run_that_died_before_its_commit_commits_the_same_parameters(learned: Stream, tmp_path: Path):
    stream = rewound(copy(learned, tmp_path / "died"), versions=2)
    assert learn(stream.url, THIRD) == 3
    assert bits(stream) == {entry.name: entry.theta_key for entry in learned.version(3).entries}


def test_a_run_that_died_between_training_and_commit_does_not_train_again(engines: None, tmp_path: Path):
    stream = create(tmp_path / "trained")
    submit(stream, 0)
    ingest(stream.url)
    *_, candidate = Trainer(stream.url).learn(FIRST, stream.begin_attempt(FIRST, 0))
    assert learn(stream.url, FIRST) == 1
    assert stream.head().commit_id == candidate.commit_id


def test_a_run_that_died_before_its_consolidation_makes_up_for_it(learned: Stream, tmp_path: Path):
    stream = rewound(copy(learned, tmp_path / "made-up-for"))
    stream.evaluations.remove(stream.head().entries[0].theta_key)  # the gate measures what it has to compare with
    assert run(stream.url) == []
    assert stream.head().kind == "consolidate"
    assert bits(stream) == bits(learned)


def test_one_task_that_cannot_be_learned_does_not_hold_up_the_next(engines: None, tmp_path: Path):
    stream = create(tmp_path / "one-fails")
    submit(stream, 0)
    submit(stream, 1)
    assert ingest(stream.url) == [FIRST, SECOND]
    stream.objects.delete(f"tasks/{FIRST}/train.parquet")
    with pytest.raises(ApdError, match=rf"still waiting: {FIRST} \(.*train.parquet"):
        run(stream.url)
    assert list(bits(stream)) == [SECOND]
    assert [one.task for one in stream.inbox.waiting()] == [FIRST]
    assert is_logged(f"{FIRST} was not learned")


def test_consolidation_waits_until_it_is_due(learned: Stream):
    before = learned.head().number
    assert consolidate(learned.url, only_if_due=True) is None
    assert learned.head().number == before


def test_a_consolidation_that_costs_too_much_is_set_aside_and_the_head_stays(learned: Stream, tmp_path: Path):
    stream = rewound(copy(learned, tmp_path / "refused"))
    for entry in stream.head().entries:
        stream.evaluations.put(entry.theta_key, {"validation_accuracy": 3.0, "test_accuracy": 1.0})
    before = stream.head()
    state = consolidate(stream.url, only_if_due=True, return_state=True)
    assert (state.name, state.type.name) == ("Refused", "COMPLETED")
    assert f"{FIRST} would lose" in state.message
    assert stream.head() == before
    tried = [one.details["tolerance"] for one in stream.refusals.consolidations(before.number)]
    assert tried == pytest.approx([0.3, 0.1, 0.1 / 3])
    assert is_logged("consolidation refused")
    page = artifact(artifact_key("refused", stream_key(stream.url)))
    assert f"| {FIRST} | 300.0 |" in page.replace("\\", "")
    assert consolidate(stream.url, only_if_due=True, return_state=True).name == "Completed"


def test_a_consolidation_is_tried_again_with_a_third_of_the_tolerance(learned: Stream, tmp_path: Path, monkeypatch):
    stream = rewound(copy(learned, tmp_path / "third"))

    def refuse_the_largest(_: Stream, proposal: Proposal) -> list[str]:
        return ["too dear"] if proposal.details["tolerance"] > 0.2 else []

    monkeypatch.setattr(overview, "reasons_to_refuse", refuse_the_largest)
    version = consolidate(stream.url, only_if_due=True)
    assert stream.version(version).details["tolerance"] == pytest.approx(0.1)
    page = stream.objects.read(stream.report_key(version)).decode()
    assert "<td>0.1</td>" in page
    assert '<td class="name">refused</td>' in page


@pytest.fixture
def refused(learned: Stream, tmp_path: Path) -> Stream:
    """A stream that has refused its fourth task."""
    stream = demanding(copy(learned, tmp_path / "demanding"), min_accuracy=1.0)
    submit(stream, 3)
    state = run(stream.url, return_state=True)
    assert (state.name, state.type.name) == ("Refused", "COMPLETED")
    assert f"{FOURTH} has" in state.message
    assert state.result() == []
    return stream


def test_a_task_below_what_the_stream_demands_is_kept_aside(learned: Stream, refused: Stream):
    assert refused.head() == learned.head()
    assert [one.task for one in refused.inbox.refused()] == [FOURTH]
    assert is_logged(f"refused: {FOURTH} has")
    assert f"# {FOURTH} was refused" in artifact(artifact_key("refused", stream_key(refused.url)))
    assert f"- **refused**: {FOURTH}: " in artifact(artifact_key("stream", stream_key(refused.url)))
    assert told("apd.task.refused", refused)["task"] == FOURTH
    assert learn(refused.url, FOURTH, return_state=True).name == "Refused"
    assert run(refused.url) == []


def test_a_refused_task_is_learned_as_it_was_trained(refused: Stream):
    kept = refused.refusals.task(FOURTH).candidate.entry
    assert learn(refused.url, FOURTH, if_refused="accept") == 5
    assert refused.head().entry(FOURTH).theta_key == kept.theta_key
    assert refused.inbox.refused() == []


def test_a_refused_task_is_trained_again_on_the_newest_version(refused: Stream):
    forget(refused.url, THIRD)
    assert learn(refused.url, FOURTH, if_refused="train again", return_state=True).name == "Refused"
    assert refused.refusals.task(FOURTH).candidate.base == 5


def test_a_refused_task_is_forgotten_with_evidence(refused: Stream):
    kept, before = refused.refusals.task(FOURTH).candidate.entry, bits(refused)
    number = forget(refused.url, FOURTH)
    assert refused.version(number).details["records"] == [kept.record]
    assert bits(refused) == before
    assert refused.inbox.refused() == []
    assert not list(refused.objects.list(f"tasks/{FOURTH}/"))
    with pytest.raises(UnknownTask):
        learn(refused.url, FOURTH)
    assert run(refused.url) == []


def test_evaluation_measures_only_what_has_changed(learned: Stream, tmp_path: Path):
    stream = copy(learned, tmp_path / "evaluated")
    keys = [entry.theta_key for entry in stream.head().entries]
    right = [stream.evaluations.get(key) for key in keys]
    stream.evaluations.put(keys[0], {"validation_accuracy": 0.123, "test_accuracy": 0.123})
    stream.evaluations.remove(keys[1])
    evaluate(stream.url)
    assert stream.evaluations.get(keys[0])["test_accuracy"] == 0.123
    assert stream.evaluations.get(keys[1]) == right[1]
    evaluate(stream.url, again=True)
    assert [stream.evaluations.get(key) for key in keys] == right


def test_forgetting_leaves_every_other_task_the_same_bits(learned: Stream, tmp_path: Path):
    stream = copy(learned, tmp_path / "forgotten")
    before = {name: bare_state(stream.load_task(stream.head(), name)) for name in (FIRST, THIRD)}
    kept = {name: key for name, key in bits(stream).items() if name != SECOND}
    number = forget(stream.url, SECOND)
    assert stream.version(number).details["unchanged"] == 2
    assert bits(stream) == kept
    for name, expected in before.items():
        found = bare_state(stream.load_task(stream.head(), name))
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    for version in stream.log():
        with pytest.raises(UnknownTask):
            stream.load_task(version, SECOND)
    assert not list(stream.objects.list(f"tasks/{SECOND}/"))
    assert forget(stream.url, SECOND) == number


def test_forgetting_an_unknown_task_changes_nothing(learned: Stream):
    before = learned.head()
    with pytest.raises(UnknownTask, match="has no task 'shoes'"):
        forget(learned.url, "shoes")
    assert learned.head() == before


def test_a_deployment_waits_for_its_stream_and_misses_one_that_was_lost(learned: Stream, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", str(uuid4()))
    state = run(f"{tmp_path}/new", return_state=True)
    assert (state.name, state.type.name) == ("Skipped", "COMPLETED")
    assert f"there is no stream in {tmp_path}/new yet; for example: apd init {tmp_path}/new" in state.message
    lost = copy(learned, tmp_path / "lost")
    report(lost.url)
    shutil.rmtree(lost.url)
    with pytest.raises(NotFound, match="there is no stream in"):
        run(lost.url)
    state = run(f"{tmp_path}/elsewhere/lost", return_state=True)
    assert state.name == "Skipped", "it has only the name of one that was shown"


def test_a_report_of_an_old_version_can_be_written_later(learned: Stream, tmp_path: Path):
    stream = copy(learned, tmp_path / "reported")
    place = report(stream.url, 2)
    page = Path(place).read_text()
    assert SECOND in page
    assert THIRD not in page
