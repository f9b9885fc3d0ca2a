"""What every training has in common: what is not finite ends it, every seed will do, constants stay as they are."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import toys
from torch import Tensor, nn

from apd.baselines import ElasticWeights, FineTuning, SeparateNetwork
from apd.config import SEEDS, LearningConfig
from apd.data import Split, TaskData
from apd.decomposition import arrive, bare_state
from apd.errors import Diverged, StateError
from apd.joint import JointTask, JointTraining
from apd.loop import Progress, under
from apd.networks import Network, of_module
from apd.state import FIRST, Arrival, Snapshot
from apd.training import Fit

CONFIG = LearningConfig(epochs=10, batch_size=20, learning_rate=0.01, capacity_per_task=0.2)


class Standardised(nn.Sequential):
    """Divides every input by its own deviation, as many networks do."""

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = super().forward(inputs / inputs.std(1, keepdim=True))
        return logits


class Rooted(nn.Sequential):
    """Its first output is finite, the gradient there is not."""

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = super().forward(inputs)
        return logits + (0 * self[0].weight.sum()).sqrt()


def of(kind: type[nn.Sequential]) -> Network:
    return of_module(lambda classes: kind(nn.Linear(toys.SIZE, 8), nn.ReLU(), nn.Linear(8, classes)), (toys.SIZE,))


def blank(data: TaskData) -> TaskData:
    """The same with one input of zeros."""
    inputs = data.train.pick(torch.arange(len(data.train)))
    inputs[7] = 0.0
    return dataclasses.replace(data, train=Split(inputs, data.train.labels))


def second(network: Network) -> Arrival:
    """What the second task arrives at, after one that nothing troubled."""
    plain = dataclasses.replace(network, build=lambda classes: nn.Sequential(*network.build(classes).children()))
    first = Fit(plain, "first", toys.CLASSES, toys.data(1), FIRST, CONFIG)
    list(first.epochs())
    task = first.result().task
    return arrive(FIRST, task, task.sigma)


def first_task(network: Network, data: TaskData, config: LearningConfig) -> Iterator[Progress]:
    return Fit(network, "t", toys.CLASSES, data, FIRST, config).epochs()


def later_task(network: Network, data: TaskData, config: LearningConfig) -> Iterator[Progress]:
    return Fit(network, "t", toys.CLASSES, data, second(network), config).epochs()


def separate(network: Network, data: TaskData, config: LearningConfig) -> Iterator[Progress]:
    return SeparateNetwork(network, "t", toys.CLASSES, data, config).epochs()


def fine_tuned(network: Network, data: TaskData, config: LearningConfig) -> Iterator[Progress]:
    return FineTuning(network, config).learn("t", toys.CLASSES, data)


def elastic(network: Network, data: TaskData, config: LearningConfig) -> Iterator[Progress]:
    return ElasticWeights(network, config, stiffness=1.0).learn("t", toys.CLASSES, data)


def together(network: Network, data: TaskData, config: LearningConfig) -> Iterator[Progress]:
    return JointTraining(network, [JointTask("t", toys.CLASSES, data)], config).epochs()


Method = Callable[[Network, TaskData, LearningConfig], Iterator[Progress]]
METHODS: tuple[Method, ...] = (first_task, later_task, separate, fine_tuned, elastic, together)


@pytest.mark.parametrize("method", METHODS)
def test_a_loss_that_is_no_number_ends_training_with_its_name_and_the_likely_causes(method: Method) -> None:
    place = "joint training of 1 tasks" if method is together else "task 't'"
    causes = "learning_rate 0.01 is too large, or the network gives what is not finite .* a deviation of 0"
    with pytest.raises(
        Diverged, match=f"{place} diverged in epoch 1 of 10: the loss is nan. Likely .*{causes}"
    ) as found:
        next(method(of(Standardised), blank(toys.data(2)), CONFIG))
    assert "bfloat16" not in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("method", METHODS)
def test_parameters_that_the_last_step_has_ruined_are_found_before_they_are_saved(method: Method) -> None:
    with pytest.raises(Diverged, match=r"in epoch 1 of 10: '(shared|body|mask_logits)/0.weight' is not finite"):
        next(method(of(Rooted), toys.data(2, samples=10), CONFIG))


def test_half_precision_is_named_where_it_may_be_the_cause() -> None:
    config = dataclasses.replace(CONFIG, precision="bfloat16")
    with pytest.raises(Diverged, match=r"or learning\.precision bfloat16 is too coarse"):
        next(first_task(of(Standardised), blank(toys.data(2)), config))


def test_too_large_a_step_is_found_when_it_leads_there() -> None:
    training = Fit(
        toys.network(), "t", toys.CLASSES, toys.data(1), FIRST, dataclasses.replace(CONFIG, learning_rate=1e38)
    )
    with pytest.raises(Diverged, match=r"learning\.learning_rate 1e\+38 is too large"):
        list(training.epochs())
    with pytest.raises(StateError):
        training.result()


def ruined(snapshot: Snapshot) -> Snapshot:
    """As an earlier release may have saved it."""
    tensors = {name: torch.full_like(value, torch.nan) for name, value in snapshot.tensors.items() if "mean" in name}
    return Snapshot({**snapshot.tensors, **tensors}, snapshot.values)


def test_a_ruined_attempt_gives_no_result() -> None:
    data, network = toys.data(1), toys.network()
    single = Fit(network, "t", toys.CLASSES, data, FIRST, CONFIG)
    joint = JointTraining(network, [JointTask("t", toys.CLASSES, data)], CONFIG)
    results: list[tuple[Any, Callable[[], object]]] = [(single, single.result), (joint, lambda: joint.body)]
    for training, result in results:
        list(training.epochs())
        result()
        training.restore(ruined(training.snapshot()))
        with pytest.raises(Diverged, match=r"diverged in epoch 10 of 10: .* is not finite"):
            result()


@pytest.mark.parametrize("method", METHODS)
def test_the_largest_seed_there_is(method: Method) -> None:
    assert next(method(of(nn.Sequential), toys.data(2), dataclasses.replace(CONFIG, seed=SEEDS - 1))).epoch == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_body_without_private_parameters(method: Method) -> None:
    def build(classes: int) -> nn.Module:
        return nn.Sequential(nn.Linear(toys.SIZE, 8, bias=False), nn.ReLU(), nn.Linear(8, classes))

    network = of_module(build, (toys.SIZE,))
    assert [progress.epoch for progress in method(network, toys.data(2), CONFIG)] == list(range(1, 11))


class Frozen(nn.Sequential):
    """On a layer that is as it was made, and a classifier too if so wanted."""

    def __init__(self, classes: int, *also: int) -> None:
        super().__init__(nn.Linear(toys.SIZE, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, classes))
        for layer in (0, *also):
            self[layer].requires_grad_(False)


def test_frozen_parameters_are_constants_of_every_task() -> None:
    network, config = of_module(Frozen, (toys.SIZE,)), dataclasses.replace(CONFIG, weight_decay=0.1)
    spec, made = network.spec(toys.CLASSES), network.initial(toys.CLASSES, CONFIG.seed)
    assert list(spec.shared) == ["2.weight"]
    assert spec.private["0.weight"] == ((16, toys.SIZE), "float32")
    assert network.trainable(toys.CLASSES) == ("2.weight", "2.bias", "4.weight", "4.bias")
    single = Fit(network, "t", toys.CLASSES, toys.data(2), second(network), config)
    joint = JointTraining(network, [JointTask("t", toys.CLASSES, toys.data(2))], config)
    bare = SeparateNetwork(network, "t", toys.CLASSES, toys.data(2), config)
    held = ElasticWeights(network, config, stiffness=1.0)
    for name in ("one", "other"):
        list(held.learn(name, toys.CLASSES, toys.data(2)))
    assert [list(training.epochs())[-1].epoch for training in (single, joint, bare)] == [CONFIG.epochs] * 3
    found = (
        bare_state(single.result().task),
        joint.body,
        bare.result().tensors,
        under("body", held.snapshot().tensors),
    )
    for tensors in found:
        assert torch.equal(tensors["0.weight"], made["0.weight"])
        assert torch.equal(tensors["0.bias"], made["0.bias"])
        assert not torch.equal(tensors["2.bias"], made["2.bias"])


@pytest.mark.parametrize("method", METHODS)
def test_a_frozen_classifier(method: Method) -> None:
    network = of_module(lambda classes: Frozen(classes, 4), (toys.SIZE,))
    first, *_, last = method(network, toys.data(2), CONFIG)
    assert last.loss < first.loss


class Masked(nn.Sequential):
    """With an infinity of its own, as masks of attention have it."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = super().forward(inputs) + self.mask.softmax(0)[1]
        return logits


def test_an_infinity_that_was_there_from_the_start_is_left_as_it_was() -> None:
    network = of(Masked)
    training = Fit(network, "t", toys.CLASSES, toys.data(1), FIRST, CONFIG)
    list(training.epochs())
    assert training.result().task.private["mask"].tolist() == [0.0, -torch.inf]
    joint = JointTraining(network, [JointTask("t", toys.CLASSES, toys.data(1))], CONFIG)
    list(joint.epochs())
    assert joint.snapshot().tensors["mean/head/t/mask"].tolist() == [0.0, -torch.inf]
