"""Small streams of made-up tasks, with sigmas that move, for the tests of consolidation."""

from collections.abc import Sequence

import torch
from hypothesis import strategies as st

from apd.decomposition import compose
from apd.state import Consolidation, Sparse, TaskState, Tensors

SHAPES = {"conv.weight": (2, 2, 1, 3), "dense.weight": (3, 4)}

Rows = Sequence[Sequence[float]]


def sparse(*values: float) -> Sparse:
    return Sparse.from_dense(torch.tensor(values))


def task(name: str, sigma: Tensors, taus: Tensors, generator: torch.Generator | None = None) -> TaskState:
    """A task with random masks (all one half without a generator)."""
    draw = torch.zeros if generator is None else (lambda size: torch.randn(size, generator=generator))
    return TaskState(
        name=name,
        sigma=sigma,
        mask_logits={key: draw(value.shape[0]) for key, value in sigma.items()},
        tau={key: Sparse.from_dense(value) for key, value in taus.items()},
        private={"head.bias": torch.zeros(2)},
        clusters={},
        local_shared={},
    )


def flat_tasks(rows: Rows) -> tuple[list[TaskState], Tensors]:
    """One task per row, tau of the one parameter `w` the row, all relative to one sigma of zeros."""
    sigma = {"w": torch.zeros(1, len(rows[0]))}
    return [task(f"t{i}", sigma, {"w": torch.tensor([row])}) for i, row in enumerate(rows)], sigma


@st.composite
def streams(draw: st.DrawFn, most: int = 7) -> tuple[list[TaskState], Tensors]:
    """1 to `most` tasks, each relative to the sigma at its arrival, and the newest sigma.

    Taus are multiples of 0.004 over few levels, so that tasks often agree within the tolerance, with a little noise.
    """
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    density, moving = draw(st.sampled_from([0.0, 0.3, 0.8])), draw(st.sampled_from([0.0, 0.2, 1.0]))
    sigma: Tensors = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    tasks = []
    for index in range(draw(st.integers(1, most))):
        steps = {name: _some(shape, moving, generator) for name, shape in SHAPES.items()}
        if any(step.any() for step in steps.values()):
            sigma = {name: value + steps[name] for name, value in sigma.items()}
        taus = {name: _some(shape, density, generator) for name, shape in SHAPES.items()}
        tasks.append(task(f"t{index}", sigma, taus, generator))
    return tasks, sigma


def _some(shape: tuple[int, ...], density: float, generator: torch.Generator) -> torch.Tensor:
    levels = 0.004 * torch.randint(-3, 4, shape, generator=generator)
    noise = 1e-4 * torch.randn(shape, generator=generator)
    return torch.where(torch.rand(shape, generator=generator) < density, levels + noise, 0.0)


def nonzeros(tasks: Sequence[TaskState], name: str) -> int:
    """Taus, and every cluster's sigma_g once."""
    shared = {task.clusters[name]: task.local_shared[name].nnz for task in tasks if name in task.clusters}
    return sum(task.tau[name].nnz for task in tasks) + sum(shared.values())


def largest_moves(before: Sequence[TaskState], outcome: Consolidation, name: str) -> dict[str, float]:
    """Largest absolute change of theta of one parameter, per task."""
    moves = {}
    for old, new in zip(before, outcome.tasks, strict=True):
        moves[old.name] = float((compose(new)[name] - compose(old)[name]).abs().max())
    return moves
