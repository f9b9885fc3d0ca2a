import dataclasses
from statistics import mean

import pytest
import torch
import toys

from apd.baselines import FineTuning
from apd.config import LearningConfig
from apd.data import Split, TaskData
from apd.errors import StateError
from apd.joint import JointTask, JointTraining
from apd.loop import bare_accuracy, under
from apd.networks import Network
from apd.state import Tensors

CONFIG = LearningConfig(epochs=8, batch_size=20, learning_rate=0.01)
TASKS = [JointTask("a", 3, toys.data(1)), JointTask("b", 4, toys.data(5, samples=30, classes=4))]


def joint(network: Network | None = None, config: LearningConfig = CONFIG) -> JointTraining:
    return JointTraining(network or toys.network(), TASKS, config)


def accuracy(training: JointTraining, task: JointTask, body: Tensors, head: Tensors) -> float:
    return bare_accuracy(training.network, {**body, **head}, task.data.validation)


def test_it_learns_all_tasks_at_once() -> None:
    runs = [joint().run() for _ in range(2)]
    assert set(runs[0]) == {"a", "b"}
    assert min(runs[0].values()) > 0.8
    assert runs[0] == runs[1]


def test_what_it_learns_is_the_mean_of_the_last_epochs() -> None:
    training, versions = joint(), []
    for progress in training.epochs():
        now = training.snapshot().tensors
        found = mean(accuracy(training, task, under("body", now), under(f"head/{task.name}", now)) for task in TASKS)
        assert progress.validation_accuracy == pytest.approx(found)
        versions.append(now)
    averaged = {name: torch.stack([each[name] for each in versions[-2:]]).mean(0) for name in versions[-1]}
    torch.testing.assert_close(training.body, under("body", averaged))
    assert not {"4.weight", "4.bias"} & set(training.body)  # the head
    for task in TASKS:
        head = under(f"head/{task.name}", averaged)
        expected = bare_accuracy(training.network, {**training.body, **head}, task.data.test)
        assert training.accuracies[task.name] == expected


def test_statistics_of_normalisation_are_each_tasks_own() -> None:
    """With those of all tasks, or of the last one alone, neither is told apart."""
    far = toys.data(2)
    moved = TaskData(*(Split(40 + 10 * split.inputs, split.labels) for split in (far.train, far.validation, far.test)))
    tasks = [JointTask("near", 3, toys.data(1)), JointTask("far", 3, moved)]
    network = toys.normalised_network()
    assert min(JointTraining(network, tasks, CONFIG).run().values()) > 0.85
    tuned = FineTuning(network, CONFIG)
    for task in tasks:
        list(tuned.learn(task.name, task.classes, task.data))
    near, far_off = (head["1.running_mean"] for head in tuned._heads.values())
    assert near.abs().max() > 0
    assert not torch.equal(near, far_off)


def test_the_batches_of_a_small_task_are_spread_over_the_epoch() -> None:
    small = JointTask("small", 3, toys.data(1, samples=40))
    large = JointTask("large", 3, toys.data(2, samples=200))
    training = JointTraining(toys.network(), [small, large], CONFIG)
    turns = [task.name for task, _, _ in training._batches(1)]
    places = [place for place, name in enumerate(turns) if name == "small"]
    assert len(turns) == 12
    assert places == [2, 8]
    alike = JointTraining(toys.network(), [small, dataclasses.replace(small, name="other")], CONFIG)
    assert [task.name for task, _, _ in alike._batches(1)] == ["small", "other"] * 2


def test_it_starts_from_what_it_is_given_and_leaves_that_alone() -> None:
    start = {name: value + 1.0 for name, value in toys.network().initial(3, seed=5).items() if name == "0.weight"}
    kept = start["0.weight"].clone()
    usual, other = joint(), JointTraining(toys.network(), TASKS, CONFIG, start=start)
    before, now = usual.snapshot().tensors, other.snapshot().tensors
    assert torch.equal(now["body/0.weight"], kept)
    assert all(torch.equal(value, now[name]) for name, value in before.items() if name != "body/0.weight")
    other.run()
    assert torch.equal(start["0.weight"], kept)
    assert not torch.equal(other.body["0.weight"], kept)


def test_an_attempt_from_another_start_is_refused() -> None:
    taken = joint().snapshot()
    start = {"0.weight": torch.zeros_like(taken.tensors["body/0.weight"])}
    with pytest.raises(StateError, match=r"has sums_of_start {}, expected {'0\.weight': 0\.0}: start it afresh"):
        JointTraining(toys.network(), TASKS, CONFIG, start=start).restore(taken)


def test_there_is_nothing_of_it_before_its_last_epoch() -> None:
    training = joint()
    next(training.epochs())
    for what in ("body", "accuracies"):
        with pytest.raises(StateError, match="joint training has finished 1 of 8 epochs"):
            getattr(training, what)


def test_its_progress_is_that_of_the_tasks_together() -> None:
    first, *_, last = joint().epochs()
    assert (first.epoch, last.epoch, last.epochs) == (1, CONFIG.epochs, CONFIG.epochs)
    assert last.loss < first.loss
    assert last.train_accuracy > first.train_accuracy
    assert last.seconds > first.seconds > 0


@pytest.mark.parametrize("stop", [1, 5, 8])
def test_resumed_after_any_epoch_it_gives_the_same_bits(stop: int) -> None:
    whole, resumed = joint(toys.normalised_network()), joint(toys.normalised_network())
    taken = next(whole.snapshot() for progress in whole.epochs() if progress.epoch == stop)
    whole.run()
    resumed.restore(taken)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stop)  # others have drawn since
        assert [progress.epoch for progress in resumed.epochs()] == list(range(stop + 1, CONFIG.epochs + 1))
    assert resumed.accuracies == whole.accuracies
    for name, value in whole.body.items():
        assert torch.equal(value, resumed.body[name]), name
    assert {"head/a/1.running_mean", "body/0.weight"} < set(whole.snapshot().tensors)


def test_an_attempt_at_other_tasks_is_refused() -> None:
    taken = joint().snapshot()
    other = JointTraining(toys.network(), TASKS[:1], CONFIG)
    with pytest.raises(StateError, match=r"joint training of 1 tasks has tasks \['a', 'b'\], expected \['a'\]"):
        other.restore(taken)
    with pytest.raises(StateError, match="has learning"):
        joint(config=dataclasses.replace(CONFIG, epochs=9)).restore(taken)


def test_it_computes_in_the_precision_it_is_told() -> None:
    bodies = []
    for precision in toys.PRECISIONS:
        training = joint(config=dataclasses.replace(CONFIG, epochs=1, precision=precision))
        assert min(training.run().values()) > 0.3
        bodies.append(training.body["0.weight"])
    exact, rough = bodies
    assert rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(exact, rough, atol=3 * CONFIG.learning_rate, rtol=0)
