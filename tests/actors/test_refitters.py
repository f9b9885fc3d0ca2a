"""The work of learning sigma again as a plain class, in this process."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from apd.actors.consolidation import Job
from apd.actors.refit import Refitter
from apd.joint import JointTask, JointTraining
from apd.networks import from_config
from apd.refit import joint_training, sigma_of
from apd.state import Snapshot, Tensors
from apd.store import Stream
from apd.store.attempts import REFIT, learned_again
from tests.actors import small


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    """Two tasks are learned."""
    made = Stream.create(str(tmp_path / "stream"), small.config())
    for number in range(2):
        small.learn_here(made, small.accept(made, number))
    return made


def job(stream: Stream) -> Job:
    return Job(stream.head().number, 0.0, "0" * 32)


def joint(stream: Stream) -> JointTraining:
    head = stream.head()
    tasks = [JointTask(f"task-{number}", 3, small.task(number).data) for number in range(len(head.entries))]
    assert head.sigma is not None
    return joint_training(from_config(stream.config), tasks, stream.load_sigma(head.sigma), stream.config.learning)


def interrupted(stream: Stream) -> Snapshot:
    """An attempt after four epochs, whose weights nobody would have trained: what goes on from it is told by them."""
    training = joint(stream)
    taken = next(training.snapshot() for progress in training.epochs() if progress.epoch == 4)
    taken.tensors["body/dense1.weight"] += 1.0
    return taken


def found(stream: Stream) -> Tensors:
    """The sigma that the actor comes to."""
    sigma, moved = Refitter(stream.url).joint(job(stream))
    assert moved > 0
    return stream.load_sigma(sigma)


def same(one: Tensors, other: Tensors) -> bool:
    return set(one) == set(other) and all(torch.equal(value, other[name]) for name, value in one.items())


def test_joint_training_goes_on_from_an_attempt_at_the_same_version(stream: Stream) -> None:
    whole, resumed = joint(stream), joint(stream)
    whole.run()
    resumed.restore(interrupted(stream))
    resumed.run()
    stream.save_attempt(REFIT, interrupted(stream), base=stream.head().number)
    assert same(found(stream), sigma_of(resumed))
    assert not same(sigma_of(resumed), sigma_of(whole))
    assert small.epochs_saved(stream, REFIT) == small.EPOCHS


def test_an_attempt_at_another_version_is_not_gone_on_with(stream: Stream) -> None:
    whole = joint(stream)
    whole.run()
    stream.save_attempt(REFIT, interrupted(stream), base=stream.head().number - 1)
    assert same(found(stream), sigma_of(whole))


@pytest.mark.parametrize("refit_epochs", [None, 3, small.EPOCHS + 2])
@pytest.mark.parametrize("every", [0.0, 1e9])
def test_trainings_are_saved_as_often_as_the_stream_wants_and_when_they_end(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, every: float, refit_epochs: int | None
) -> None:
    actor, saved = Refitter(stream.url), list[tuple[str, int]]()
    actor.stream.config = replace(
        stream.config,
        resources=replace(stream.config.resources, save_every=every),
        consolidation=replace(stream.config.consolidation, refit_epochs=refit_epochs),
    )
    save = actor.stream.save_attempt

    def noted(name: str, snapshot: Snapshot, **extra: int) -> None:
        saved.append((name, snapshot.values["epoch"]))
        save(name, snapshot, **extra)

    monkeypatch.setattr(actor.stream, "save_attempt", noted)
    sigma, _ = actor.joint(job(stream))
    again = actor.learn_again(stream.head().entry("task-1"), job(stream), sigma)
    of = ((REFIT, refit_epochs or small.EPOCHS), (learned_again("task-1"), small.EPOCHS))
    expected = [(name, epoch) for name, last in of for epoch in range(1 if every == 0 else last, last + 1)]
    assert saved == expected
    assert again.entry.theta_key == actor.learn_again(stream.head().entry("task-1"), job(stream), sigma).entry.theta_key
    assert len(saved) == len(expected)  # what was at its end is not trained again
