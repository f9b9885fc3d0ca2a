"""The gate for new tasks: what a stream may demand, where it is refused, and how it is learned anyway."""

import pytest

from apd import overview
from apd.errors import ConfigError, TaskRefused, UnknownTask
from apd.learner import Learner
from tests.overview.small_streams import learner, noise, samples


def demanding(**demands: float) -> Learner:
    """One learned task, and such demands on those that follow."""
    return learner(1, **demands)


def test_nothing_is_demanded_unless_asked_for():
    made = learner(1)
    made.learn("noise", noise())
    assert made.tasks == ("task-0", "noise")


@pytest.mark.parametrize(
    ("demands", "reasons"),
    [
        ({"min_accuracy": 0.95}, r"^noise has \d+\.\d % validation accuracy; at least 95\.0 % is demanded"),
        ({"min_gain": 0.25}, r"always answering its most frequent class \d+\.\d %; at least 25 points more"),
    ],
)
def test_a_task_below_what_is_demanded_is_kept_aside_and_changes_nothing(demands, reasons):
    made = demanding(**demands)
    head = made.stream.head()
    with pytest.raises(TaskRefused, match=reasons):
        made.learn("noise", noise())
    assert made.stream.head() == head
    assert [(row["task"], row["state"]) for row in overview.arrivals(made.stream)] == [("noise", "refused")]
    assert overview.status(made.stream)["refused"] == 1


def test_both_demands_are_named_when_both_are_missed():
    made = demanding(min_accuracy=0.95, min_gain=0.5)
    with pytest.raises(TaskRefused):
        made.learn("noise", noise())
    (row,) = overview.arrivals(made.stream)
    assert "at least 95.0 %" in row["note"]
    assert "at least 50 points" in row["note"]


def test_a_refused_task_can_be_learned_anyway_from_what_was_trained():
    made = demanding(min_gain=0.25)
    with pytest.raises(TaskRefused, match=r"`accept\('noise'\)` learns it anyway"):
        made.learn("noise", noise())
    kept = made.stream.refusals.task("noise").candidate.entry
    made.learn("task-1", samples(1))
    result = made.accept("noise")
    assert made.tasks == ("task-0", "task-1", "noise")
    assert made.stream.head().entry("noise").theta_key == kept.theta_key
    assert (result.validation_accuracy, result.classes) == (kept.validation_accuracy, ("0", "1"))
    assert overview.arrivals(made.stream) == []
    with pytest.raises(UnknownTask, match="no task 'noise' was refused"):
        made.accept("noise")


def test_a_task_that_reaches_what_is_demanded_is_learned_and_its_baseline_is_kept():
    made = demanding(min_accuracy=0.4, min_gain=0.1)
    entry = made.stream.head().entry("task-0")
    assert entry.baseline == pytest.approx(0.5, abs=0.12)
    assert entry.validation_accuracy >= entry.baseline + 0.1


def test_demands_are_checked():
    with pytest.raises(ConfigError, match=r"acceptance.min_accuracy is 95.0 but must be in \[0, 1\] or null"):
        demanding(min_accuracy=95)
    with pytest.raises(ConfigError, match=r"acceptance.min_gain"):
        demanding(min_gain=-0.1)


def test_a_consolidation_that_costs_too_much_is_tried_again_with_a_third_of_the_tolerance(monkeypatch):
    made = learner(3, **{"tolerance": 0.9, "least_saving": 1, "clusters_per_round": 1, "consolidate_every": 100})
    tried = []

    def refuse_the_largest(stream, proposal):
        tried.append(proposal.details["tolerance"])
        return ["too dear"] if proposal.details["tolerance"] > 0.2 else []

    monkeypatch.setattr("apd.learner.reasons_to_refuse", refuse_the_largest)
    made.consolidate()
    assert tried == pytest.approx([0.9, 0.3, 0.1])
    head = made.stream.head()
    assert head.details["tolerance"] == pytest.approx(0.1)
    assert [one.details["tolerance"] for one in made.stream.refusals.consolidations(3)] == pytest.approx([0.9, 0.3])


def test_it_is_not_due_again_once_every_tolerance_was_refused(monkeypatch):
    made = learner(2, **{"tolerance": 0.9, "least_saving": 1, "clusters_per_round": 1, "consolidate_every": 3})
    monkeypatch.setattr("apd.learner.reasons_to_refuse", lambda stream, proposal: ["too dear"])
    made.learn("third", samples(3))
    assert made.stream.head().kind == "learn"
    assert not overview.is_due(made.stream)
    assert len(made.stream.refusals.consolidations(3)) == 3
