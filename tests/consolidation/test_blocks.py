"""Blocks of tasks, and that how they are cut decides nothing."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from apd.config import ConsolidationConfig
from apd.consolidation import consolidate
from apd.consolidation.blocks import blocks, cut, joined, portions
from apd.decomposition import compose
from apd.state import UNCLUSTERED, TaskState, Tensors
from tests.consolidation.streams import SHAPES, streams


@given(st.integers(1, 9), st.integers(1, 200))
def test_blocks_cover_every_output_unit_once_and_are_as_small_as_asked(tasks: int, cells: int) -> None:
    parts = blocks(SHAPES, tasks, cells)
    for name, shape in SHAPES.items():
        own = [part for part in parts if part.parameter == name]
        assert [unit for part in own for unit in range(part.first, part.last)] == list(range(shape[0]))
    for part in parts:
        assert part.elements * tasks <= cells or part.last - part.first == 1
    read = portions(parts, tasks, cells)
    assert [part for some in read for part in some] == parts
    assert all(len(some) == 1 or sum(part.elements for part in some) * tasks <= cells for some in read)


@given(streams(), st.integers(1, 60))
def test_the_blocks_of_a_task_are_all_of_it(stream: tuple[list[TaskState], Tensors], cells: int) -> None:
    tasks, _ = stream
    parts = blocks(SHAPES, len(tasks), cells)
    rows = cut(tasks, parts)
    for number, task in enumerate(tasks):
        for name in SHAPES:
            own = [(part, row[number]) for part, row in zip(parts, rows, strict=True) if part.parameter == name]
            tau = joined([(part, block.tau[name]) for part, block in own])
            assert torch.equal(tau.to_dense(), task.tau[name].to_dense())
            assert torch.equal(torch.cat([compose(block)[name] for _, block in own]), compose(task)[name])


@settings(max_examples=30)
@given(st.sampled_from([1, 20, 70]), streams())
def test_a_consolidation_in_blocks_is_the_one_in_a_whole(cells: int, stream: tuple[list[TaskState], Tensors]) -> None:
    """Inner products are added in another order: on these small numbers that changes no cluster."""
    config = ConsolidationConfig(least_saving=1, clusters_per_round=2)
    whole = consolidate(*stream, UNCLUSTERED, config)
    parts = consolidate(*stream, UNCLUSTERED, config, cells=cells)
    assert parts.clustering == whole.clustering
    assert (parts.sigma_moved, parts.tau_stored) == (whole.sigma_moved, whole.tau_stored)
    for mine, others in zip(parts.tasks, whole.tasks, strict=True):
        assert mine.clusters == others.clusters
        assert all(torch.equal(compose(mine)[name], compose(others)[name]) for name in SHAPES)
    for name, report in whole.report.items():
        inertia = parts.report[name].inertia
        assert inertia is not None
        assert report.inertia is not None
        assert math.isclose(inertia, report.inertia, rel_tol=1e-9, abs_tol=1e-12)
        assert parts.report[name].moves == report.moves
