import dataclasses
import json
from itertools import pairwise
from pathlib import Path
from statistics import mean

import pytest
import torch
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from apd.config import LearningConfig
from apd.data import TaskData
from apd.decomposition import arrive, bare_state, compose
from apd.errors import StateError
from apd.loop import first_averaged
from apd.networks import Network
from apd.objective import penalty
from apd.retroactive import re_express
from apd.state import FIRST, Arrival, Learned
from apd.training import Fit, Snapshot, accuracy, predict_logits

CONFIG = LearningConfig(epochs=6, batch_size=20, learning_rate=0.01, capacity_per_task=0.05)


def fit(
    data: TaskData, arrival: Arrival, config: LearningConfig = CONFIG, network: Network | None = None, name="t"
) -> Fit:
    return Fit(network or toys.network(), name, toys.CLASSES, data, arrival, config)


def finish(training: Fit) -> Learned:
    for _ in training.epochs():
        pass
    return training.result()


def after(learned: Learned, arrival: Arrival = FIRST) -> Arrival:
    return arrive(arrival, learned.task, learned.task.sigma)


@pytest.fixture(scope="module")
def second() -> Arrival:
    """What the second task arrives at."""
    return after(finish(fit(toys.data(1), FIRST)))


def bits(learned: Learned) -> dict[str, Tensor]:
    task = learned.task
    step = {f"step/{key}": value.to_dense() for key, value in learned.sigma_step.items()}
    masks = {f"mask/{key}": value for key, value in task.mask_logits.items()}
    return bare_state(task) | {f"sigma/{key}": value for key, value in task.sigma.items()} | masks | step


def assert_same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_two_tasks_are_learned_and_the_first_does_not_change():
    network, one, two = toys.network(), toys.data(1), toys.data(2)
    config = dataclasses.replace(CONFIG, capacity_per_task=0.3, epochs=10)
    first = finish(fit(one, FIRST, config))
    logits = predict_logits(network, first.task, one.test.inputs)
    learned = finish(fit(two, after(first), config))
    moved = re_express(first.task, learned.task.sigma)
    assert accuracy(network, first.task, one.test) > 0.9
    assert accuracy(network, learned.task, two.test) > 0.9
    torch.testing.assert_close(predict_logits(network, moved, one.test.inputs), logits, rtol=1e-5, atol=1e-5)


def test_the_first_task_trains_sigma_and_has_no_tau():
    learned = finish(fit(toys.data(1), FIRST))
    initial = toys.network().initial(toys.CLASSES, CONFIG.seed)
    assert all(tau.nnz == 0 for tau in learned.task.tau.values())
    assert all(step.nnz == 0 for step in learned.sigma_step.values())
    assert not any(torch.equal(value, initial[name]) for name, value in learned.task.sigma.items())


def test_training_leaves_the_arrival_as_it_was(second):
    before = {name: value.clone() for name, value in second.sigma.items()}
    finish(fit(toys.data(2), second))
    assert_same_bits(before, dict(second.sigma))


def test_apd_fixed_holds_sigma(second):
    learned = finish(fit(toys.data(2), second, dataclasses.replace(CONFIG, variant="apd-fixed")))
    assert learned.task.sigma is second.sigma
    assert all(step.nnz == 0 for step in learned.sigma_step.values())


def stored(learned: Learned, arrival: Arrival) -> int:
    """|tau|_0 + (t - 1) |sigma - sigma_old|_0"""
    taus = sum(tau.nnz for tau in learned.task.tau.values())
    return taus + arrival.earlier * sum(step.nnz for step in learned.sigma_step.values())


@settings(max_examples=8)
@given(st.floats(0.005, 1), st.sampled_from(["apd-fixed", "apd1", "apd2"]), st.integers(1, 3))
def test_no_task_stores_more_than_its_budget(budget, variant, epochs):
    config = dataclasses.replace(CONFIG, capacity_per_task=budget, variant=variant, epochs=epochs)
    arrival = FIRST
    for number in range(3):
        learned = finish(fit(toys.data(number), arrival, config))
        assert stored(learned, arrival) <= budget * toys.network().spec(toys.CLASSES).size
        arrival = after(learned, arrival)


def test_sigma_may_move_for_the_second_task(second):
    learned = finish(fit(toys.data(2), second))
    assert sum(step.nnz for step in learned.sigma_step.values()) > 0
    for name, step in learned.sigma_step.items():
        assert torch.equal(learned.task.sigma[name], step.add_to(second.sigma[name]))


def test_without_a_budget_sparsity_alone_makes_zeros(second):
    densities = []
    for sparsity in (0.0, 0.01, 0.1):
        config = dataclasses.replace(CONFIG, capacity_per_task=None, sparsity=sparsity, variant="apd-fixed")
        densities.append([progress.tau_density for progress in fit(toys.data(2), second, config).epochs()][-1])
    assert densities[0] > 0.9
    assert densities[0] > densities[1] > densities[2] > 0


def test_training_reaches_a_minimum_of_the_documented_objective(second):
    """No perturbation of what was trained lowers the objective as `apd.objective` writes it."""
    samples = toys.data(2, samples=30)
    config = LearningConfig(
        epochs=800,
        batch_size=30,
        learning_rate=0.02,
        learning_rate_decay=0.992,
        capacity_per_task=None,
        sparsity=0.01,
        weight_decay=0.0,
        mask_start=1.0,
        variant="apd1",
    )
    training = fit(samples, second, config)
    for _ in training.epochs():
        pass
    trained = training.snapshot().tensors
    delta = {name: trained[f"shared/{name}"] for name in second.sigma}
    logits = {name: trained[f"mask_logits/{name}"] for name in second.sigma}
    private = {key.removeprefix("private/"): value for key, value in trained.items() if key.startswith("private/")}

    def objective(delta, logits):
        theta = {k: second.sigma[k] * torch.sigmoid(logits[k])[:, None] + delta[k] for k in delta}
        output = toys.network().forward(theta | private, samples.train.inputs, training=False)
        return functional.cross_entropy(output, samples.train.labels) + penalty(delta, logits, second.pull, config)

    best = objective(delta, logits)
    generator = torch.Generator().manual_seed(0)
    assert (
        0 < sum(int(value.count_nonzero()) for value in delta.values()) < 0.5 * sum(v.numel() for v in delta.values())
    )
    for size in (0.01, 0.1, 1.0):
        for _ in range(10):
            near = {k: v + size * torch.randn(v.shape, generator=generator) for k, v in delta.items()}
            masks = {k: v + size * torch.randn(v.shape, generator=generator) for k, v in logits.items()}
            assert objective(near, logits) > best - 1e-5
            assert objective(delta, masks) > best - 1e-5
            assert objective({k: v * (1 - min(size, 0.9)) for k, v in delta.items()}, logits) > best - 1e-5


@pytest.mark.parametrize(("earlier", "budget"), [(1, 0.3), (2, 0.3), (2, None)])
def test_where_a_budget_leaves_all_to_tau_it_pays_the_l1_price_of_a_sigma_that_stands_still(second, earlier, budget):
    """From the third task on the documented term is l1 |tau|, whatever the earlier masks; before, or without, less."""
    pull = {name: torch.full_like(total, 0.2) for name, total in second.pull.items()}
    arrival = dataclasses.replace(second, pull=pull, earlier=earlier)
    config = dataclasses.replace(CONFIG, sparsity=3e-3, capacity_per_task=budget)
    trainings = [
        fit(toys.data(2), arrival, dataclasses.replace(config, variant=name)) for name in ("apd1", "apd-fixed")
    ]
    losses = [[progress.loss for progress in training.epochs()] for training in trainings]
    free, fixed = (training.result() for training in trainings)
    moved = any(step.nnz for step in free.sigma_step.values())
    if budget is not None and earlier > 1:
        assert losses[0] == losses[1]
        assert_same_bits(bits(free), bits(fixed))
    else:
        assert losses[0][-1] < losses[1][-1]
        assert moved


def test_masks_start_where_the_configuration_says_once_there_is_a_sigma(second):
    config = dataclasses.replace(CONFIG, mask_start=0.0)
    for arrival, start in ((FIRST, 3.0), (second, 0.0)):
        tensors = fit(toys.data(1), arrival, config).snapshot().tensors
        masks = {key: value for key, value in tensors.items() if key.startswith("mask_logits/")}
        assert masks
        assert all((value == start).all() for value in masks.values())


@pytest.mark.parametrize("network", [toys.network(), toys.normalised_network()], ids=["plain", "normalised"])
@pytest.mark.parametrize("task", [1, 2])
def test_the_same_run_gives_the_same_bits(second, network, task):
    arrival = FIRST if task == 1 else after(finish(fit(toys.data(1), FIRST, network=network)))
    runs = []
    for _ in range(2):
        torch.rand(7)  # whatever the caller does with torch's generator
        runs.append(bits(finish(fit(toys.data(task), arrival, network=network))))
    assert_same_bits(*runs)


def through_files(snapshot: Snapshot, folder: Path) -> Snapshot:
    save_file(dict(snapshot.tensors), folder / "tensors.safetensors")
    return Snapshot(load_file(folder / "tensors.safetensors"), json.loads(json.dumps(snapshot.values)))


@pytest.mark.parametrize("network", [toys.network(), toys.normalised_network()], ids=["plain", "normalised"])
@pytest.mark.parametrize("stop", range(CONFIG.epochs + 1))
def test_a_run_resumed_after_any_epoch_gives_the_same_bits(stop, network, tmp_path):
    config = dataclasses.replace(CONFIG, sparsity=1e-3)
    arrival = after(finish(fit(toys.data(1), FIRST, network=network)))
    expected = finish(fit(toys.data(2), arrival, config, network))
    interrupted = fit(toys.data(2), arrival, config, network)
    epochs = interrupted.epochs()
    for _ in range(stop):
        next(epochs)
    saved = through_files(interrupted.snapshot(), tmp_path)
    for _ in epochs:
        pass  # a snapshot does not change with the training it was taken of
    resumed = fit(toys.data(2), arrival, config, network)
    resumed.restore(saved)
    assert [progress.epoch for progress in resumed.epochs()] == list(range(stop + 1, config.epochs + 1))
    assert_same_bits(bits(resumed.result()), bits(expected))
    assert resumed.result().validation_accuracy == expected.validation_accuracy


def test_what_the_first_task_never_uses_is_there_for_later_ones():
    """A decay that Adam rescales would drive weights of silent inputs to zero, and so whole units."""
    samples = toys.data(1)
    for split in (samples.train, samples.validation, samples.test):
        split.inputs[:, 0] = 0.0
    config = dataclasses.replace(CONFIG, weight_decay=0.1)
    initial = toys.network().initial(toys.CLASSES, config.seed)["0.weight"]
    learned, left = finish(fit(samples, FIRST, config)), [1.0]
    for epoch in range(config.epochs):
        rate = config.learning_rate * config.learning_rate_decay**epoch
        left.append(left[-1] * (1 - rate * config.weight_decay) ** 3)  # steps of an epoch
    averaged = mean(left[first_averaged(config.epochs) :])
    torch.testing.assert_close(learned.task.sigma["0.weight"][:, 0], initial[:, 0] * averaged)


def test_a_first_task_resumes_too():
    expected = finish(fit(toys.data(1), FIRST))
    interrupted, resumed = fit(toys.data(1), FIRST), fit(toys.data(1), FIRST)
    next(interrupted.epochs())
    resumed.restore(interrupted.snapshot())
    assert_same_bits(bits(finish(resumed)), bits(expected))


def test_an_attempt_of_something_else_is_refused(second):
    saved = fit(toys.data(2), second).snapshot()
    with pytest.raises(StateError, match="attempt at task 'other' has task 't', expected 'other'"):
        fit(toys.data(2), second, name="other").restore(saved)
    with pytest.raises(StateError, match=r"has learning .* start it afresh"):
        fit(toys.data(2), second, dataclasses.replace(CONFIG, epochs=7)).restore(saved)
    with pytest.raises(StateError, match="has earlier 1, expected 0"):
        fit(toys.data(2), FIRST).restore(saved)
    fewer = {key: value for key, value in saved.tensors.items() if key != "support/0.weight"}
    with pytest.raises(StateError, match=r"differ in 'support/0.weight'"):
        fit(toys.data(2), second).restore(Snapshot(fewer, saved.values))
    with pytest.raises(StateError, match=r"'shared/0.weight' of the attempt .* is \(2,\), expected \(16, 12\)"):
        fit(toys.data(2), second).restore(Snapshot({**saved.tensors, "shared/0.weight": torch.zeros(2)}, saved.values))


def test_a_result_is_refused_before_the_last_epoch(second):
    training = fit(toys.data(2), second)
    next(training.epochs())
    with pytest.raises(StateError, match="task 't' has finished 1 of 6 epochs"):
        training.result()


@pytest.mark.parametrize(
    ("settings", "averaged"),
    [
        ({"epochs": 15, "prune_until": 0.5}, (13, 14, 15)),
        ({"epochs": 15, "prune_until": 0.9}, (15,)),  # the support is final after the fourteenth
        ({"prune_until": 1.0}, (6,)),
        ({"capacity_per_task": None, "epochs": 12}, (11, 12)),
        ({"capacity_per_task": None, "epochs": 1}, (1,)),
    ],
)
def test_what_is_learned_is_the_mean_of_the_last_epochs(second, settings, averaged):
    config = dataclasses.replace(CONFIG, variant="apd-fixed", **settings)
    training = fit(toys.data(2), second, config)
    versions = [training.snapshot().tensors for progress in training.epochs() if progress.epoch in averaged]
    learned = training.result()
    for name, tau in learned.task.tau.items():
        torch.testing.assert_close(tau.to_dense(), torch.stack([each[f"shared/{name}"] for each in versions]).mean(0))
    for name, value in learned.task.private.items():
        torch.testing.assert_close(value, torch.stack([each[f"private/{name}"] for each in versions]).mean(0))
    assert learned.validation_accuracy == accuracy(toys.network(), learned.task, toys.data(2).validation)


def test_of_what_is_counted_the_last_is_kept_and_of_what_is_measured_the_mean():
    samples, network = toys.data(1), toys.normalised_network()
    training = fit(samples, FIRST, dataclasses.replace(CONFIG, epochs=8), network)
    versions = [training.snapshot().tensors for _ in training.epochs()]
    private = training.result().task.private
    assert int(private["1.num_batches_tracked"]) == int(versions[-1]["buffer/1.num_batches_tracked"])
    expected = torch.stack([each["buffer/1.running_var"] for each in versions[-2:]]).mean(0)
    torch.testing.assert_close(private["1.running_var"], expected)


def test_averaging_leaves_a_tau_as_sparse_as_its_last_epoch(second):
    config = dataclasses.replace(CONFIG, capacity_per_task=None, sparsity=3e-3, epochs=12, variant="apd-fixed")
    training = fit(toys.data(2), second, config)
    last = first_averaged(12)
    versions = [training.snapshot().tensors for progress in training.epochs() if progress.epoch >= last]
    ever = 0
    for name, tau in training.result().task.tau.items():
        stack = torch.stack([each[f"shared/{name}"] for each in versions])
        torch.testing.assert_close(tau.to_dense(), stack.mean(0) * (stack[-1] != 0))
        ever += int((stack != 0).any(0).sum()) - tau.nnz
    assert ever > 0  # or nothing was left out


def test_tasks_of_other_numbers_of_classes_share_sigma(second):
    other = toys.data(5, classes=4)
    learned = finish(Fit(toys.network(), "four", 4, other, second, CONFIG))
    assert predict_logits(toys.network(), learned.task, other.test.inputs, batch_size=7).shape == (30, 4)


def test_theta_is_composed_from_what_is_stored(second):
    learned = finish(fit(toys.data(2), second))
    bare = toys.network().forward(bare_state(learned.task), toys.data(2).test.inputs, training=False)
    assert torch.equal(bare, predict_logits(toys.network(), learned.task, toys.data(2).test.inputs))
    assert set(compose(learned.task)) == set(second.sigma)


def test_progress_counts_and_measures(second):
    seen = list(fit(toys.data(2), second).epochs())
    assert [progress.epoch for progress in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[-1].epochs == 6
    assert seen[-1].loss < seen[0].loss
    assert seen[-1].tau_density <= 0.05 < seen[0].tau_density
    assert all(later.seconds > earlier.seconds for earlier, later in pairwise(seen))
