"""Blocks: some output units of one shared parameter, for all tasks; the pieces that a consolidation is worked out in.

Recentring, re-expression and sharing decide element by element, and inner products add up over elements. So whoever
holds one block of all tasks can do its part, and what has to be held at a time does not grow with the network. A block
of a task is a task again, of fewer output units.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import torch

from apd.state import Shape, Sparse, TaskState, Tensors

CELLS = 2**24
"""Elements of a block times tasks. A cell takes 4 bytes where tasks are relative to different sigmas, at most 32 while
sigmas that differ everywhere are recentred, and 12 for a tau that is not zero: about 100 MB at a hundredth of them."""


@dataclass(frozen=True, slots=True)
class Block:
    """Output units `first` to `last` - 1 of a parameter of this shape."""

    parameter: str
    shape: Shape
    first: int
    last: int

    @property
    def start(self) -> int:
        """Flat index of its first element in the whole parameter."""
        return self.first * prod(self.shape[1:])

    @property
    def elements(self) -> int:
        """How many it has."""
        return (self.last - self.first) * prod(self.shape[1:])


def blocks(shapes: Mapping[str, Shape], tasks: int, cells: int = CELLS) -> list[Block]:
    """All parameters in blocks of at most so many cells, or of one output unit; the same for the same stream always."""
    found = []
    for name, shape in shapes.items():
        units = max(1, cells // (tasks * prod(shape[1:])))
        starts = range(0, shape[0], units)
        found += [Block(name, tuple(shape), first, min(first + units, shape[0])) for first in starts]
    return found


def portions(parts: Sequence[Block], tasks: int, cells: int = CELLS) -> list[tuple[Block, ...]]:
    """Neighbouring blocks together while they have at most so many cells: what is read from the store at a time."""
    found: list[list[Block]] = []
    held = 0
    for part in parts:
        held += part.elements * tasks
        if not found or held > cells:
            found.append([])
            held = part.elements * tasks
        found[-1].append(part)
    return [tuple(some) for some in found]


def cut(tasks: Iterable[TaskState], parts: Sequence[Block]) -> list[list[TaskState]]:
    """Per block, that block of every task. Nothing of a task is held beyond its blocks, so `tasks` may make them."""
    rows: list[list[TaskState]] = [[] for _ in parts]
    for task in tasks:
        for part, row in zip(parts, rows, strict=True):
            row.append(_block_of(task, part, row[-1].sigma if row else None))
    return rows


def cut_sigma(sigma: Tensors, part: Block) -> Tensors:
    """A block of a sigma, in memory of its own."""
    return {part.parameter: sigma[part.parameter][part.first : part.last].clone()}


def _block_of(task: TaskState, part: Block, before: Tensors | None) -> TaskState:
    """The block of a task; its sigma is the same object as that of the task before where it has the same values."""
    name = part.parameter
    sigma = before
    if before is None or not torch.equal(before[name], task.sigma[name][part.first : part.last]):
        sigma = cut_sigma(task.sigma, part)
    assert sigma is not None
    clustered = name in task.clusters
    return replace(
        task,
        sigma=sigma,
        mask_logits={name: task.mask_logits[name][part.first : part.last].clone()},
        tau={name: _cut_sparse(task.tau[name], part)},
        private={},
        clusters={name: task.clusters[name]} if clustered else {},
        local_shared={name: _cut_sparse(task.local_shared[name], part)} if clustered else {},
    )


def _cut_sparse(tensor: Sparse, part: Block) -> Sparse:
    bounds = torch.tensor([part.start, part.start + part.elements])
    first, last = torch.searchsorted(tensor.indices, bounds).tolist()
    shape = (part.last - part.first, *part.shape[1:])
    return Sparse(shape, tensor.indices[first:last] - part.start, tensor.values[first:last].clone())


def joined(parts: Sequence[tuple[Block, Sparse]]) -> Sparse:
    """One sparse tensor of the whole parameter from those of its blocks, in their order; zeros that are stored stay."""
    indices = torch.cat([piece.indices + part.start for part, piece in parts])
    return Sparse(parts[0][0].shape, indices, torch.cat([piece.values for _, piece in parts]))
