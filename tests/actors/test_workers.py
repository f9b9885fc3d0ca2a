"""The kinds of work as plain classes, in this process."""

import dataclasses
import socket
from itertools import islice
from pathlib import Path

import pytest

from apd.actors import Comparer, Evaluator, Trainer, propose
from apd.actors.versions import require_versions, versions
from apd.errors import ClusterError, Forgotten, NotFound, StateError
from apd.store import Candidate, Stream
from apd.store.upkeep import verify
from apd.training import Progress
from tests.actors import small


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    """Three tasks have arrived, none is learned."""
    made = Stream.create(str(tmp_path / "stream"), small.config())
    for number in range(3):
        small.accept(made, number)
    return made


def test_a_trainer_yields_every_epoch_and_then_a_candidate(stream: Stream) -> None:
    *epochs, candidate = Trainer(stream.url).learn("task-0", 0)
    assert [event.epoch for event in epochs if isinstance(event, Progress)] == list(range(1, small.EPOCHS + 1))
    assert isinstance(candidate, Candidate)
    assert (candidate.base, candidate.entry.based_on) == (0, 0)
    version = stream.commit_candidate(candidate)
    assert version.entry("task-0").test_accuracy > 0.5
    assert stream.record(version.entry("task-0"))["metrics"]["device"] == "cpu"


def test_a_candidate_is_measured_before_anybody_commits_it(stream: Stream) -> None:
    *_, candidate = Trainer(stream.url).learn("task-0", 0)
    assert isinstance(candidate, Candidate)
    measured = stream.evaluations.get(candidate.entry.theta_key)
    assert measured["test_accuracy"] == candidate.entry.test_accuracy
    assert measured["validation_accuracy"] == candidate.entry.validation_accuracy


def test_a_trainer_goes_on_where_another_was_stopped(stream: Stream) -> None:
    small.learn_here(stream, "task-0")
    *_, whole = Trainer(stream.url).learn("task-1", 1)
    stream.clear_attempt("task-1")
    for event in Trainer(stream.url).learn("task-1", 1):
        if isinstance(event, Progress) and event.epoch == 4:
            break
    first, *_, resumed = Trainer(stream.url).learn("task-1", 1)
    assert isinstance(first, Progress)
    assert isinstance(whole, Candidate)
    assert isinstance(resumed, Candidate)
    assert first.epoch == 4  # the third is the last that was saved
    assert resumed.entry.theta_key == whole.entry.theta_key


def test_an_attempt_on_another_version_is_not_gone_on_with(stream: Stream) -> None:
    small.learn_here(stream, "task-0")
    list(Trainer(stream.url).learn("task-1", 1))
    small.learn_here(stream, "task-2")
    first, *_ = Trainer(stream.url).learn("task-1", 2)
    assert isinstance(first, Progress)
    assert first.epoch == 1


def test_an_attempt_of_an_older_apd_is_begun_anew_and_the_log_says_why(
    stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    *_, whole = Trainer(stream.url).learn("task-0", 0)
    attempt = stream.load_attempt("task-0")
    stream.save_attempt("task-0", dataclasses.replace(attempt, values={**attempt.values, "learning": {}}), base=0)
    first, *_, candidate = Trainer(stream.url).learn("task-0", 0)
    assert isinstance(first, Progress)
    assert first.epoch == 1
    assert candidate.entry.theta_key == whole.entry.theta_key
    assert "training begins anew: the attempt at task 'task-0' has learning {}" in caplog.text


def test_an_attempt_at_an_earlier_arrival_of_the_name_is_not_gone_on_with(stream: Stream) -> None:
    list(Trainer(stream.url).learn("task-0", 0))
    attempt = stream.load_attempt("task-0")
    stream.save_attempt("task-0", dataclasses.replace(attempt, values={**attempt.values, "arrival": 7}), base=0)
    first, *_ = Trainer(stream.url).learn("task-0", 0)
    assert isinstance(first, Progress)
    assert first.epoch == 1


@pytest.mark.parametrize(("last", "save_every"), [(3, 0.0), (small.EPOCHS, 3600.0)])
def test_forgotten_and_submitted_anew_while_it_is_trained_the_name_gets_nothing_of_that(
    tmp_path: Path, last: int, save_every: float
) -> None:
    stream = Stream.create(str(tmp_path / "stream"), small.config(save_every=save_every))
    small.accept(stream, 0)
    training = Trainer(stream.url).learn("task-0", 0)
    assert [event.epoch for event in islice(training, last) if isinstance(event, Progress)][-1] == last
    elsewhere = Stream.open(stream.url)
    elsewhere.commit_forget("task-0")
    corrected = dataclasses.replace(small.task(8), name="task-0")
    corrected.write(tmp_path / "task-0")
    elsewhere.inbox.submit(tmp_path / "task-0")
    small.accept_all(elsewhere)
    with pytest.raises(Forgotten, match="'task-0' was forgotten meanwhile"):
        list(training)
    assert (stream.load_candidate("task-0"), stream.load_attempt("task-0")) == (None, None)
    assert [one.number for one in stream.inbox.waiting()] == [2]
    assert small.learn_here(stream, "task-0").entry("task-0").arrival == 2
    assert verify(stream).problems == ()


def test_an_evaluator_measures_what_is_stored(stream: Stream) -> None:
    entry = small.learn_here(stream, "task-0").entry("task-0")
    stream.evaluations.remove(entry.theta_key)
    found = Evaluator(stream.url).evaluate(entry)
    assert (found.task, found.theta_key, found.test_accuracy) == ("task-0", entry.theta_key, entry.test_accuracy)
    assert stream.evaluations.get(entry.theta_key)["test_accuracy"] == entry.test_accuracy


def test_what_was_written_by_a_release_with_other_roundings_is_measured_under_its_own_key(stream: Stream) -> None:
    entry = small.learn_here(stream, "task-0").entry("task-0")
    Evaluator(stream.url).evaluate(dataclasses.replace(entry, theta_key="0" * 64))
    assert stream.evaluations.get("0" * 64)["test_accuracy"] == entry.test_accuracy


def test_an_empty_version_cannot_be_consolidated(stream: Stream) -> None:
    with pytest.raises(StateError, match=r"version 0 of .* has no tasks"):
        propose(stream, 0, 0.01)


def test_a_comparison_is_made_once_and_goes_on_with_the_network_it_had(stream: Stream) -> None:
    Comparer(stream.url).compare("task-0")
    first = stream.comparisons.get("task-0")
    Comparer(stream.url).compare("task-0")
    Comparer(stream.url).compare("task-1")
    assert stream.comparisons.get("task-0") == first
    assert list(first["fine_tuning"]) == ["task-0"]
    assert list(stream.comparisons.get("task-1")["fine_tuning"]) == ["task-0", "task-1"]


def test_a_stream_that_a_node_does_not_have_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=rf"node {socket.gethostname()}: there is no stream in {tmp_path}"):
        _ = Evaluator(str(tmp_path)).stream


@pytest.mark.parametrize("what", ["python", "torch", "apd"])
def test_a_node_with_other_versions_is_refused(what: str) -> None:
    expected = dataclasses.replace(versions(), **{what: "other"})
    with pytest.raises(ClusterError, match=f"runs {what} .* but the flow on driver runs {what} other"):
        require_versions(expected, "driver")


def test_the_versions_of_this_very_machine_are_not_compared() -> None:
    require_versions(versions(), "driver")
    require_versions(dataclasses.replace(versions(), apd="edited a moment ago"), socket.gethostname())
