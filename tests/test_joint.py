import dataclasses
from statistics import mean

import pytest
import torch
import toys
from torch.nn import functional

from apd.adam import BETAS
from apd.config import LearningConfig
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


SEVEN = [JointTask(f"t{number}", 3, toys.data(number, samples=20 + 20 * (number % 3))) for number in range(7)]


def rows(tensors: list[torch.Tensor]) -> list[tuple[float, ...]]:
    return sorted(map(tuple, torch.cat(tensors).tolist()))


def test_an_epoch_has_every_sample_once_and_its_steps_are_shared_in_proportion_by_tasks_that_change() -> None:
    training, groups = JointTraining(toys.network(), SEVEN, CONFIG), []
    for epoch in (1, 2):
        batches = list(training._batches(epoch))
        for task in SEVEN:
            assert rows([inputs for batch in batches for who, inputs, _ in batch if who is task]) == rows(
                [task.data.train.inputs]
            )
        first = {frozenset(task.name for task, _, _ in batch): batch for batch in batches[:2]}
        assert sorted(map(len, first)) == [2, 5]
        for batch in first.values():
            whole = sum(len(task.data.train) for task, _, _ in batch)
            for task, inputs, labels in batch:
                assert len(inputs) == len(labels) == round(CONFIG.batch_size * len(task.data.train) / whole)
        groups.append(set(first))
    assert groups[0] != groups[1]


def test_a_step_follows_the_mean_loss_of_its_samples() -> None:
    training = JointTraining(toys.network(), SEVEN, CONFIG)
    batch = next(training._batches(1))
    state = {key: value.detach().clone().requires_grad_() for key, value in training._body.items()}
    heads = {
        task.name: {key: value.detach().clone() for key, value in training._heads[task.name].items()} for task in SEVEN
    }
    losses = []
    for task, inputs, labels in batch:
        logits = training.network.forward(state | heads[task.name], inputs, training=True)
        losses.append(functional.cross_entropy(logits, labels, reduction="none"))
    every = torch.cat(losses)
    gradients = torch.autograd.grad(every.mean(), list(state.values()))
    loss, _ = training._step(batch, rate=0.01)
    assert float(loss) == pytest.approx(float(every.detach().sum()))
    for key, gradient in zip(state, gradients, strict=True):
        torch.testing.assert_close(training._adam.state[f"first/{key}"], (1 - BETAS[0]) * gradient)
    shared = {task.name for task, _, _ in batch}
    for task in SEVEN:
        now = training._heads[task.name]
        assert all(torch.equal(now[key], value) != (task.name in shared) for key, value in heads[task.name].items())


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
    assert {"1.running_mean", "0.weight"} < set(whole.body)


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
