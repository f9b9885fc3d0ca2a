import dataclasses

import pytest
import torch
import toys

from apd.config import ConsolidationConfig, LearningConfig, Variant
from apd.consolidation import consolidate
from apd.data import Split, TaskData
from apd.decomposition import arrive, bare_state, compose
from apd.joint import JointTask, JointTraining
from apd.loop import bare_accuracy
from apd.networks import Network
from apd.refit import fit_again, is_ahead, joint_training, merged, refit, report, sigma_of
from apd.state import FIRST, Consolidation, TaskState, Tensors
from apd.training import Fit

LEARNING = LearningConfig(epochs=8, batch_size=20, learning_rate=0.01, capacity_per_task=0.05)
TASKS = [JointTask(f"t{seed}", toys.CLASSES, toys.data(seed)) for seed in range(1, 5)]


def one_after_another() -> list[TaskState]:
    arrival, learned = FIRST, []
    for task in TASKS:
        fit = Fit(toys.network(), task.name, task.classes, task.data, arrival, LEARNING)
        list(fit.epochs())
        learned.append(fit.result().task)
        arrival = arrive(arrival, learned[-1], learned[-1].sigma)
    return learned


@pytest.fixture(scope="module")
def before() -> list[TaskState]:
    return one_after_another()


@pytest.fixture(scope="module")
def found(before: list[TaskState]) -> Consolidation:
    return refit(toys.network(), before, TASKS, LEARNING)


def learn_again(network: Network, task: JointTask, sigma: Tensors, learning: LearningConfig = LEARNING) -> TaskState:
    fit = fit_again(network, task, sigma, learning)
    list(fit.epochs())
    return fit.result().task


def one_task_of_all() -> JointTask:
    """Each of the tasks' classes is one of its own."""

    def all_of(part: str) -> Split:
        splits = [getattr(task.data, part) for task in TASKS]
        labels = [split.labels + toys.CLASSES * number for number, split in enumerate(splits)]
        return Split(torch.cat([split.inputs for split in splits]), torch.cat(labels))

    return JointTask("all", len(TASKS) * toys.CLASSES, TaskData(all_of("train"), all_of("validation"), all_of("test")))


def test_sigma_is_what_telling_all_classes_apart_makes_of_half_the_newest(
    before: list[TaskState], found: Consolidation
) -> None:
    initial = toys.network().initial(toys.CLASSES, LEARNING.seed)
    start = {name: initial[name] + value / 2 for name, value in before[-1].sigma.items()}
    joint = JointTraining(toys.network(), [one_task_of_all()], LEARNING, start=start)
    joint.run()
    assert set(found.sigma) == set(toys.network().spec(toys.CLASSES).shared) < set(joint.body)
    assert all(torch.equal(joint.body[name], value) for name, value in found.sigma.items())


def test_sigma_is_learned_in_as_many_epochs_as_asked_for(before: list[TaskState], found: Consolidation) -> None:
    short = refit(toys.network(), before, TASKS, LEARNING, epochs=2)
    joint = joint_training(toys.network(), TASKS, before[-1].sigma, dataclasses.replace(LEARNING, epochs=2))
    joint.run()
    assert all(torch.equal(joint.body[name], value) for name, value in short.sigma.items())
    assert not any(torch.equal(found.sigma[name], value) for name, value in short.sigma.items())
    again = learn_again(toys.network(), TASKS[0], short.sigma)
    assert all(torch.equal(value, bare_state(short.tasks[0])[name]) for name, value in bare_state(again).items())


def test_every_task_is_relative_to_that_sigma_and_within_its_budget(found: Consolidation) -> None:
    size = toys.network().spec(toys.CLASSES).size
    for task in found.tasks:
        assert task.sigma is found.sigma
        assert 0 < sum(part.nnz for part in task.tau.values()) <= LEARNING.capacity_per_task * size
        assert not task.clusters


def test_a_task_does_not_depend_on_those_learned_again_beside_it(found: Consolidation) -> None:
    again = learn_again(toys.network(), TASKS[2], found.sigma)
    assert all(torch.equal(value, bare_state(found.tasks[2])[name]) for name, value in bare_state(again).items())


@pytest.mark.parametrize("variant", ["apd1", "apd2", "apd-fixed"])
@pytest.mark.parametrize("capacity", [0.05, None])
def test_no_variant_moves_sigma_while_it_learns_again(
    found: Consolidation, variant: Variant, capacity: float | None
) -> None:
    learning = dataclasses.replace(LEARNING, variant=variant, capacity_per_task=capacity, sparsity=1e-3)
    assert learn_again(toys.network(), TASKS[0], found.sigma, learning).sigma is found.sigma


def test_what_is_reported_is_what_happened(before: list[TaskState], found: Consolidation) -> None:
    assert found.refit
    assert found.tau_stored == sum(part.nnz for task in before for part in task.tau.values())
    assert found.sigma_moved == sum(int((found.sigma[name] != was).sum()) for name, was in before[-1].sigma.items())
    for name, part in found.report.items():
        assert part.tau_after == sum(task.tau[name].nnz for task in found.tasks)
        for old, new in zip(before, found.tasks, strict=True):
            moved = (compose(old)[name] - compose(new)[name]).abs().max()
            assert part.moves[old.name] == pytest.approx(float(moved))
    assert found.largest_move > 0
    assert merged([report(old, old) for old in before])["0.weight"].moves == dict.fromkeys(
        [old.name for old in before], 0.0
    )


@pytest.mark.parametrize(
    ("wanted", "rounds", "tasks", "ahead"),
    [(True, 0, 1, True), (True, 0, 9, True), (True, 0, 10, False), (True, 1, 5, False), (False, 0, 5, False)],
)
def test_it_comes_once_and_only_to_a_young_stream(wanted: bool, rounds: int, tasks: int, ahead: bool) -> None:
    assert is_ahead(ConsolidationConfig(consolidate_every=5, refit=wanted), rounds, tasks) is ahead


def test_the_next_consolidation_clusters_twice_as_many(found: Consolidation) -> None:
    settings = ConsolidationConfig(tolerance=10.0, clusters_per_round=1, least_saving=1)
    following = consolidate(found.tasks, found.sigma, found.clustering, settings, seed=0)
    assert following.clustering.rounds == 2
    assert {len(members) for members in following.clustering.members.values()} == {2}


def related(seed: int) -> TaskData:
    """Classes that differ in the same four of twelve inputs, the others are noise; 24 samples to learn from."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.zeros(toys.CLASSES, toys.SIZE)
    centres[:, :4] = 1.5 * torch.randn(toys.CLASSES, 4, generator=generator)
    spread = torch.tensor([0.5] * 4 + [2.0] * (toys.SIZE - 4))

    def split(count: int) -> Split:
        labels = torch.arange(count) % toys.CLASSES
        return Split(centres[labels] + spread * torch.randn(count, toys.SIZE, generator=generator), labels)

    return TaskData(split(24), split(60), split(300))


def test_later_tasks_learn_more_from_a_sigma_of_several_tasks() -> None:
    network, learning = toys.network(), dataclasses.replace(LEARNING, epochs=30, capacity_per_task=0.02)
    tasks = [JointTask(f"t{seed}", toys.CLASSES, related(seed)) for seed in range(1, 7)]
    alone = Fit(network, "t1", toys.CLASSES, tasks[0].data, FIRST, learning)
    list(alone.epochs())
    joint = joint_training(network, tasks, alone.result().task.sigma, learning)
    joint.run()
    sigmas = {"first": alone.result().task.sigma, "all": sigma_of(joint)}
    later = [JointTask(f"l{seed}", toys.CLASSES, related(seed)) for seed in range(11, 19)]
    accuracy = {
        name: sum(
            bare_accuracy(network, bare_state(learn_again(network, task, sigma, learning)), task.data.test)
            for task in later
        )
        / len(later)
        for name, sigma in sigmas.items()
    }
    assert accuracy["all"] > accuracy["first"] + 0.05
