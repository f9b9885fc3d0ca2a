"""What people ask of a stream: its tasks, what waits, its figures, whether a consolidation is due or refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from apd import overview
from apd.config import to_json
from apd.consolidation import consolidate
from apd.data import pack_arrays, validate_task
from apd.overview.facts import LINK, STATES
from apd.state import Learned
from apd.store import Proposal, Stream
from apd.store.commits import successor
from apd.store.upkeep import rollback
from tests.overview.small_streams import SHAPE, SHARING, learner, samples


def write_task(folder: Path) -> Path:
    """A task folder of the small streams' kind, named as its folder."""
    inputs, labels = samples(9)
    pack_arrays(folder, folder.name, (inputs, labels), input_shape=SHAPE)
    return folder


def proposed(stream: Stream) -> Proposal:
    head = stream.head()
    tasks = [stream.load_entry(entry) for entry in head.entries]
    config = stream.config
    outcome = consolidate(tasks, stream.load_sigma(head.sigma), stream.clustering(head), config.consolidation)
    return stream.write_consolidation(outcome, base=head)


def test_a_new_stream_has_nothing_and_says_so():
    made = learner(0)
    stream = made.stream
    facts = overview.status(stream)
    assert overview.tasks(stream, stream.head()) == overview.arrivals(stream) == []
    assert (facts["version"], facts["kind"], facts["tasks"], facts["average_test_accuracy"]) == (0, "create", 0, None)
    assert facts["consolidation_due"] is False
    assert facts["settings"] == to_json(stream.config)


def test_tasks_are_listed_as_they_are_in_the_version_asked_for():
    made = learner(2)
    stream, accuracy = made.stream, made.accuracy()
    rows = overview.tasks(stream, stream.head())
    assert [(row["task"], row["state"], row["learned_in"]) for row in rows] == [
        ("task-0", "learned", 1),
        ("task-1", "learned", 2),
    ]
    assert {row["task"]: row["test_accuracy"] for row in rows} == accuracy
    assert [row["classes"] for row in rows] == [["0", "1"], ["0", "1", "2"]]
    assert [row["task"] for row in overview.tasks(stream, stream.version(1))] == ["task-0"]


def test_arrivals_are_in_every_state_on_their_way(tmp_path: Path):
    made = learner(2)
    stream = made.stream
    rollback(stream, 1)
    for name in ("first", "second", "bad"):
        stream.inbox.submit(write_task(tmp_path / name))
    stream.inbox.accept("first", validate_task(stream.inbox.folder("first"), stream.config))
    stream.inbox.reject("bad", "its pictures are upside down")
    stream.objects.put("inbox/half/train.parquet", b"the rest follows")
    write_task(tmp_path / "odd").rename(Path(stream.url) / "inbox" / "we\\ird")
    (Path(stream.url) / "inbox" / "elsewhere").symlink_to(tmp_path)
    rows = overview.arrivals(stream)
    assert [(row["task"], row["state"], row["note"]) for row in rows] == [
        ("first", "waiting", "arrival 3"),
        ("second", "submitted", "in the inbox"),
        ("half", "arriving", "in the inbox, without task.json"),
        ("inbox/we\\ird/task.json", "arriving", "no task folder or file can have that name"),
        ("inbox/we\\ird/train.parquet", "arriving", "no task folder or file can have that name"),
        ("inbox/elsewhere", "arriving", LINK),
        ("bad", "rejected", "its pictures are upside down"),
        ("task-1", "undone", "by a rollback; `apd forget task-1` removes its data, then it can come again"),
    ]
    facts = overview.status(stream)
    assert [facts[state] for state in ("tasks", *STATES)] == [1, 1, 1, 4, 0, 1, 1]


def test_rows_and_status_are_json_with_the_same_fields_in_every_state(tmp_path: Path):
    made = learner(1)
    stream = made.stream
    stream.inbox.submit(write_task(tmp_path / "second"))
    rows = overview.tasks(stream, stream.head()) + overview.arrivals(stream)
    assert len({tuple(row) for row in rows}) == 1
    assert json.loads(json.dumps([rows, overview.status(stream)])) == [rows, overview.status(stream)]


def test_what_was_never_measured_is_none_and_left_out_of_the_average():
    made = learner(2)
    stream = made.stream
    stream.evaluations.remove(stream.head().entry("task-0").theta_key)
    first, _ = overview.accuracies(stream, stream.head())
    assert first["test_accuracy"] is None
    assert overview.status(stream)["average_test_accuracy"] == made.accuracy()["task-1"]


def test_a_consolidation_is_due_after_so_many_tasks_and_not_right_after_one():
    made = learner(1, consolidate_every=2, tolerance=0.0)
    assert not overview.is_due(made.stream)
    made.learn("next", samples(5))  # the learner consolidates by itself
    facts = overview.status(made.stream)
    assert (facts["kind"], facts["learned_since_consolidation"]) == ("consolidate", 0)
    assert not overview.is_due(made.stream)


@pytest.mark.parametrize("variant", ["apd-fixed", "apd1"])
def test_only_the_variant_with_clusters_consolidates(variant):
    made = learner(2, consolidate_every=2, variant=variant)
    assert made.stream.head().kind == "learn"
    assert not overview.is_due(made.stream)


def test_versions_that_do_not_note_their_last_consolidation_have_it_found():
    made = learner(2, consolidate_every=2, tolerance=0.0)
    made.learn("next", samples(5))
    stream, head = made.stream, made.stream.head()
    assert head.consolidated == 3
    older = replace(successor(head, "learn", "next", "1" * 32, {}), consolidated=None)
    stream.history.append(older, head)
    assert overview.status(stream)["learned_since_consolidation"] == 1
    assert not overview.is_due(stream)


def test_forgetting_a_task_takes_it_out_of_the_count():
    made = learner(3, consolidate_every=4)
    made.forget("task-1")
    assert overview.status(made.stream)["learned_since_consolidation"] == 2


def test_a_refusal_names_the_task_its_loss_and_the_limit():
    made = learner(3, **(SHARING | {"consolidate_every": 100}), max_accuracy_drop=0.05)
    stream = made.stream
    proposal = proposed(stream)
    first, *others = proposal.entries
    old = stream.evaluations.get(stream.version(proposal.base).entries[0].theta_key)
    lower = old["validation_accuracy"] - 0.051
    stream.evaluations.put(first.theta_key, {"validation_accuracy": lower, "test_accuracy": 0.5})
    for other in others:
        stream.evaluations.put(other.theta_key, {"validation_accuracy": 1.0, "test_accuracy": 1.0})
    assert overview.reasons_to_refuse(stream, proposal) == [
        "task-0 would lose 5.1 points of validation accuracy; at most 5 are allowed"
    ]
    stream.evaluations.put(first.theta_key, {"validation_accuracy": lower + 0.002, "test_accuracy": 0.5})
    assert overview.reasons_to_refuse(stream, proposal) == []


def refused_refit(stream: Stream) -> None:
    """Note that the gate refused to learn sigma again from the head's tasks."""
    proposal = proposed(stream)
    refit = replace(proposal, details={**proposal.details, "refit": True})
    stream.refusals.keep_consolidation(refit, ["task-0 would lose 9.0 points"], {"task-0": (0.9, 0.81)})


def test_sigma_is_learned_again_where_that_is_wanted_and_not_twice_from_the_same_tasks():
    made = learner(2, refit=True)
    stream, seen = made.stream, []
    stream.config = replace(stream.config, consolidation=replace(stream.config.consolidation, consolidate_every=3))
    for number in range(2, 6):
        seen.append((overview.refit_is_ahead(stream, stream.head()), overview.refit_is_due(stream, stream.head())))
        if number == 3:
            refused_refit(stream)
            assert not overview.refit_is_due(stream, stream.head())
        stream.inbox.register(info := replace(stream.task_info("task-0"), name=f"copy-{number}"))
        learned = Learned(stream.load_task(stream.head(), "task-0"), {}, 1.0)
        named = replace(learned, task=replace(learned.task, name=info.name))
        stream.commit_candidate(stream.write_candidate(named, base=stream.head(), info=info, metrics={}))
    assert seen == [(True, False), (True, True), (True, True), (True, True)]
    assert not overview.refit_is_ahead(stream, stream.head())


def test_a_consolidation_that_was_rolled_back_is_due_when_another_task_was_learned():
    made = learner(2, consolidate_every=2, tolerance=0.0)
    stream = made.stream
    assert stream.head().kind == "consolidate"
    rollback(stream, 2)
    assert overview.status(stream)["learned_since_consolidation"] == 2
    assert not overview.is_due(stream)  # it would be the one that somebody did not want
    made.learn("next", samples(5))
    assert [version.kind for version in stream.log(limit=2)] == ["consolidate", "learn"]
