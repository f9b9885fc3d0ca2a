"""Two workers of one team against a single process that does the same work."""

from pathlib import Path

import pytest
import torch
import toys
from teammates import together
from torch import Tensor, nn
from torch.nn import functional

from apd.config import LearningConfig
from apd.decomposition import arrive, bare_state
from apd.errors import Diverged, WorkerLost
from apd.loop import by_name
from apd.networks import Network, of_module
from apd.state import FIRST
from apd.team import ALONE, Team
from apd.training import Fit

CONFIG = LearningConfig(epochs=3, batch_size=21, learning_rate=0.01, capacity_per_task=0.2)
"""Batches of odd size: the workers' shares differ."""


class Wide(nn.Module):
    """Batch normalisation of every kind there is, in float64."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3), nn.Linear(4, 6)
        self.pictures, self.plain = nn.BatchNorm2d(4), nn.BatchNorm1d(6, affine=False, momentum=0.3)
        self.head = nn.Linear(6, classes)
        self.double()

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.pictures(self.first(inputs.double())).relu().mean((2, 3))
        logits: Tensor = self.head(self.plain(self.second(maps)).relu())
        return logits


def wide_gradients(team: Team, samples: int) -> dict[str, Tensor]:
    """Gradients of one batch, and the buffers after it, as a worker of the team sees them."""
    network, generator = of_module(Wide, (2, 5, 5)), torch.Generator().manual_seed(1)
    tensors = network.initial(3, seed=0)
    for name in network.trainable(3):
        tensors[name].requires_grad_()
    inputs, labels = torch.randn(samples, 2, 5, 5, generator=generator), torch.arange(samples) % 3
    with team.whole_batch():
        logits = network.forward(tensors, team.share(inputs), training=True)
    loss = functional.cross_entropy(logits, team.share(labels), reduction="sum") / samples
    found = dict(team.total(by_name(loss, tensors)))
    return found | {name: tensor for name, tensor in tensors.items() if not tensor.requires_grad}


def batch_normalised() -> Network:
    """Without dropout, whose random numbers are each worker's own.

    The layer before has no bias: nothing would depend on it, so that Adam would move it by rounding errors alone.
    """

    def build(classes: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(toys.SIZE, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, classes)
        )

    return of_module(build, (toys.SIZE,))


def learned(team: Team, stop: int) -> dict[str, Tensor]:
    """A task learned after another, as a whole and resumed after `stop` epochs: its parameters, its progress."""
    network = batch_normalised()
    first = Fit(network, "first", toys.CLASSES, toys.data(1), FIRST, CONFIG, team=team)
    list(first.epochs())
    before = first.result().task
    arrival = arrive(FIRST, before, before.sigma)

    def fit() -> Fit:
        return Fit(network, "second", toys.CLASSES, toys.data(2), arrival, CONFIG, team=team)

    whole, begun, resumed = fit(), fit(), fit()
    seen = [[step.loss, step.train_accuracy, step.validation_accuracy] for step in whole.epochs()]
    for progress in begun.epochs():
        if progress.epoch == stop:
            break
    resumed.restore(begun.snapshot())
    list(resumed.epochs())
    found = {"progress": torch.tensor(seen, dtype=torch.float64)}
    for label, training in (("whole", whole), ("resumed", resumed)):
        found |= {f"{label}/{name}": value for name, value in bare_state(training.result().task).items()}
    return found


def with_dropout(team: Team) -> dict[str, Tensor]:
    """What an epoch leaves behind of a network with dropout."""
    training = Fit(toys.normalised_network(), "t", toys.CLASSES, toys.data(1), FIRST, CONFIG, team=team)
    next(training.epochs())
    return {f"dropout/{name}": tensor for name, tensor in training.snapshot().tensors.items()}


def diverge(team: Team) -> dict[str, Tensor]:
    """Learn a task in which one sample, the share of one worker, gives a loss that is no number."""
    data = toys.data(1)
    data.train.inputs[7] = torch.inf
    with pytest.raises(Diverged, match="task 't' diverged in epoch 1 of 3: the loss is nan"):
        list(Fit(toys.network(), "t", toys.CLASSES, data, FIRST, CONFIG, team=team).epochs())
    return {"diverged": torch.ones(1)}


def all_of_it(team: Team) -> dict[str, Tensor]:
    """One start of processes for several tests."""
    return wide_gradients(team, 9) | learned(team, 2) | with_dropout(team) | diverge(team)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    """What each of two workers has learned."""
    return together(all_of_it, 2, tmp_path_factory.mktemp("pair") / "team")


def assert_gradients_of_the_whole_batch(found: dict[str, Tensor], samples: int) -> None:
    for name, tensor in wide_gradients(ALONE, samples).items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-10, atol=1e-12, msg=name)


def test_gradients_and_buffers_are_those_of_the_whole_batch(pair: list[dict[str, Tensor]]) -> None:
    """In float64, to its last digits."""
    for found in pair:
        assert_gradients_of_the_whole_batch(found, 9)


def test_a_worker_without_a_sample_takes_part(tmp_path: Path) -> None:
    for found in together(wide_gradients, 3, tmp_path / "team", 2):
        assert_gradients_of_the_whole_batch(found, 2)


def test_all_workers_of_a_team_hold_the_same_bits_and_resume_to_them(pair: list[dict[str, Tensor]]) -> None:
    one, other = pair
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
        if name.startswith("whole/"):
            assert torch.equal(tensor, one[name.replace("whole/", "resumed/")]), name


def test_a_team_learns_what_one_process_learns(pair: list[dict[str, Tensor]]) -> None:
    """Parameters within a tenth of one of 18 steps of Adam, pruning in between, and the same accuracies every epoch.

    Rounding is all that differs (5e-5 in the end), but where batch normalisation takes a weight's scale away, Adam
    follows gradients that are little else.
    """
    alone = learned(ALONE, 2)
    for name, tensor in alone.items():
        torch.testing.assert_close(pair[0][name], tensor, rtol=0.0, atol=0.1 * CONFIG.learning_rate, msg=name)
    assert torch.equal(pair[0]["progress"][:, 1:], alone["progress"][:, 1:])


def test_all_workers_of_a_team_end_a_training_that_diverges(pair: list[dict[str, Tensor]]) -> None:
    assert all("diverged" in found for found in pair)


def test_a_constant_that_three_workers_average_keeps_its_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apd.team._add_up", lambda tensor: tensor.mul_(3))
    constant = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    averaged = constant.clone()
    Team(0, 3).average({"": averaged})
    assert torch.equal(averaged, constant)


def leave(team: Team) -> dict[str, Tensor]:
    """Rank 1 is gone before the others need it."""
    if team.rank == 1:
        return {}
    with pytest.raises(WorkerLost, match="a worker of the team is gone, or its network"):
        team.sum(1.0)
    return {"lost": torch.ones(1)}


def test_a_worker_that_is_gone_is_lost_to_the_others(tmp_path: Path) -> None:
    assert together(leave, 2, tmp_path / "team")[0].keys() == {"lost"}


@pytest.mark.parametrize(("size", "count"), [(1, 5), (2, 5), (3, 2)])
def test_shares_are_a_partition_in_order(size: int, count: int) -> None:
    rows = torch.arange(count)
    parts = [Team(rank, size).share(rows) for rank in range(size)]
    assert torch.equal(torch.cat(parts), rows)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
