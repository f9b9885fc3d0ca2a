import itertools

import torch
from hypothesis import given

from apd.consolidation.recentring import recentre
from apd.retroactive import re_express
from apd.state import TaskState, Tensors
from tests.consolidation.streams import SHAPES, streams, task


def taus_needed(tasks: list[TaskState], sigma: Tensors) -> torch.Tensor:
    """How many tasks need a tau on this sigma, per element of all parameters."""
    needed = [
        sum(((own.sigma[name] != sigma[name]) | (own.tau[name].to_dense() != 0)).int() for own in tasks).flatten()
        for name in SHAPES
    ]
    return torch.cat(needed)


@given(streams())
def test_no_sigma_of_any_task_needs_fewer_taus_at_any_element(stream: tuple[list[TaskState], Tensors]) -> None:
    tasks, sigma = stream
    single, _ = recentre(tasks, sigma)
    chosen = taus_needed(tasks, single)
    for candidate in [sigma, *(own.sigma for own in tasks)]:
        assert (chosen <= taus_needed(tasks, candidate)).all()


@given(streams())
def test_the_newest_value_stays_unless_another_needs_fewer(stream: tuple[list[TaskState], Tensors]) -> None:
    tasks, sigma = stream
    single, moved = recentre(tasks, sigma)
    changed = torch.cat([(single[name] != sigma[name]).flatten() for name in SHAPES])
    assert moved == int(changed.sum())
    assert (taus_needed(tasks, single) < taus_needed(tasks, sigma))[changed].all()
    assert moved or single is sigma


def test_what_it_saves_when_sigma_moves_with_every_task() -> None:
    """Ten tasks, each moves one element of sigma: the earlier ones have a tau there on the newest sigma."""
    sigmas = list(itertools.accumulate(torch.eye(10)[:, None], initial=torch.ones(1, 10)))
    tasks = [task(f"t{i}", {"w": sigmas[i + 1]}, {"w": torch.zeros(1, 10)}) for i in range(10)]
    newest = {"w": sigmas[-1]}
    single, moved = recentre(tasks, newest)
    assert sum(re_express(own, newest).tau["w"].nnz for own in tasks) == 45
    assert sum(re_express(own, single).tau["w"].nnz for own in tasks) == 25
    assert moved == 4  # an element that moved before more than half of the tasks had come stays moved


def test_tasks_learned_side_by_side_do_not_pay_for_each_others_steps() -> None:
    """Each of five moves two elements of the same sigma; the stream's sigma has all ten moves."""
    first, steps = torch.zeros(1, 10), torch.eye(5).repeat_interleave(2, dim=1)
    tasks = [task(f"t{i}", {"w": first + step}, {"w": torch.zeros(1, 10)}) for i, step in enumerate(steps)]
    newest = {"w": first + steps.sum(0)}
    single, _ = recentre(tasks, newest)
    assert sum(re_express(own, newest).tau["w"].nnz for own in tasks) == 40
    assert sum(re_express(own, single).tau["w"].nnz for own in tasks) == 10
