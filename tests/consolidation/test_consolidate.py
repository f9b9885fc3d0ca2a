import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apd.config import ConsolidationConfig
from apd.consolidation import consolidate
from apd.decomposition import compose
from apd.errors import StateError
from apd.retroactive import re_express
from apd.state import UNCLUSTERED, Clustering, TaskState, Tensors
from tests.consolidation.streams import SHAPES, flat_tasks, largest_moves, nonzeros, streams, task

settings = partial(ConsolidationConfig, least_saving=1)
configs = st.builds(
    settings,
    clusters_per_round=st.integers(1, 3),
    tolerance=st.sampled_from([0.0, 0.005, 0.01, 0.1]),
    centre=st.sampled_from(["mean", "mid-range"]),
)
ROUNDING = 1e-6
PAIRS = [[1.0, 0.5, 0.0, 0.0], [1.001, 0.501, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 2.002, 0.0]]


@given(streams(), configs)
def test_bounds_capacity_and_one_sigma(stream: tuple[list[TaskState], Tensors], config: ConsolidationConfig) -> None:
    tasks, sigma = stream
    outcome = consolidate(tasks, sigma, UNCLUSTERED, config)
    assert all(own.sigma is outcome.sigma for own in outcome.tasks)
    bound = config.tolerance * (1.0 if config.centre == "mean" else 0.5)
    placed = [re_express(own, outcome.sigma) for own in tasks]
    for name, part in outcome.report.items():
        for owner, move in largest_moves(tasks, outcome, name).items():
            assert abs(move - part.moves.get(owner, 0.0)) <= ROUNDING
            assert part.moves.get(owner, 0.0) <= bound + ROUNDING
        assert part.tau_before + part.local_shared_before == nonzeros(placed, name)
        assert part.tau_after + part.local_shared_after == nonzeros(outcome.tasks, name)
        assert nonzeros(outcome.tasks, name) <= nonzeros(placed, name)
    assert outcome.largest_move <= bound + ROUNDING


@given(streams(), streams(most=3), configs)
def test_a_second_round_keeps_the_bounds(
    first: tuple[list[TaskState], Tensors], later: tuple[list[TaskState], Tensors], config: ConsolidationConfig
) -> None:
    tasks, sigma = first
    once = consolidate(tasks, sigma, UNCLUSTERED, config)
    arrived = [*once.tasks, *(replace(own, name=f"later-{own.name}") for own in later[0])]
    twice = consolidate(arrived, later[1], once.clustering, config)
    placed = [re_express(own, twice.sigma) for own in arrived]
    assert twice.clustering.rounds == 2
    assert twice.largest_move <= config.tolerance + ROUNDING
    for name, part in twice.report.items():
        assert nonzeros(twice.tasks, name) <= nonzeros(placed, name)
        for owner, move in largest_moves(arrived, twice, name).items():
            assert abs(move - part.moves.get(owner, 0.0)) <= 2 * ROUNDING


@given(streams(), configs)
def test_clusters_are_their_members(stream: tuple[list[TaskState], Tensors], config: ConsolidationConfig) -> None:
    outcome = consolidate(*stream, UNCLUSTERED, config)
    count = min(config.clusters_per_round, len(stream[0]))
    for name in SHAPES:
        members = outcome.clustering.members[name]
        assert sorted(sum(members, ())) == sorted(own.name for own in stream[0])
        assert len(members) <= count
        formed = {members[own.clusters[name]] for own in outcome.tasks if name in own.clusters}
        assert formed == set(outcome.report[name].members)
        assert all(own.name in members[own.clusters[name]] for own in outcome.tasks if name in own.clusters)
        assert all(len(names) >= 2 for names in formed)


def test_two_pairs_share_what_they_have_in_common() -> None:
    tasks, sigma = flat_tasks(PAIRS)
    outcome = consolidate(tasks, sigma, UNCLUSTERED, settings(centre="mean"))
    part = outcome.report["w"]
    assert sorted(part.members) == [("t0", "t1"), ("t2", "t3")]
    assert (part.tau_before, part.tau_after, part.local_shared_after, part.refused) == (6, 0, 3, 0)
    assert outcome.largest_move == pytest.approx(0.001, rel=1e-3)
    assert outcome.tasks[0].local_shared["w"] is outcome.tasks[1].local_shared["w"]
    torch.testing.assert_close(compose(outcome.tasks[0])["w"], torch.tensor([[1.0005, 0.5005, 0.0, 0.0]]))


def test_the_same_input_gives_the_same_bits() -> None:
    tasks, sigma = flat_tasks(torch.randn(12, 30, generator=torch.Generator().manual_seed(0)).tolist())
    first, second = (consolidate(tasks, sigma, UNCLUSTERED, settings(), seed=5) for _ in range(2))
    assert first.clustering == second.clustering
    assert first.report == second.report


def test_clusters_of_one_and_a_single_task_keep_their_taus() -> None:
    tasks, sigma = flat_tasks([[1.0, 0.0], [0.0, 1.0]])
    for some in (tasks, tasks[:1]):
        outcome = consolidate(some, sigma, UNCLUSTERED, settings(clusters_per_round=5))
        assert outcome.clustering.members["w"] == tuple((own.name,) for own in outcome.tasks)
        assert [own.clusters for own in outcome.tasks] == [{}] * len(some)
        assert outcome.report["w"].refused == 0
        assert outcome.largest_move == 0.0


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_identical_taus_are_one_cluster(value: float) -> None:
    tasks, sigma = flat_tasks([[value, 0.0]] * 4)
    outcome = consolidate(tasks, sigma, UNCLUSTERED, settings())
    part = outcome.report["w"]
    assert len(outcome.clustering.members["w"]) == 1
    assert (part.tau_after, part.local_shared_after) == (0, int(value != 0))
    assert part.refused == int(value == 0)
    assert outcome.largest_move == 0.0


def test_a_cluster_that_saves_nothing_is_not_formed() -> None:
    tasks, sigma = flat_tasks([[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]])
    outcome = consolidate(tasks, sigma, UNCLUSTERED, settings(clusters_per_round=1))
    assert outcome.report["w"].refused == 1
    assert outcome.report["w"].members == ()
    assert all(own.clusters == {} for own in outcome.tasks)
    assert outcome.clustering.members["w"] == (("t0", "t1", "t2"),)


def test_a_cluster_must_save_as_much_as_it_costs_to_keep() -> None:
    tasks, sigma = flat_tasks([[1.0] * 40] * 4)
    for least_saving, formed in ((120, 1), (121, 0)):
        config = ConsolidationConfig(least_saving=least_saving)
        part = consolidate(tasks, sigma, UNCLUSTERED, config).report["w"]
        assert (len(part.members), part.refused) == (formed, 1 - formed)
        assert part.tau_after + part.local_shared_after == (40 if formed else 160)


def test_clusters_grow_by_k_each_round_up_to_the_number_of_tasks() -> None:
    tasks, sigma = flat_tasks(torch.eye(5).tolist())
    clustering, counts = UNCLUSTERED, []
    for _ in range(4):
        clustering = consolidate(tasks, sigma, clustering, settings(clusters_per_round=2)).clustering
        counts.append(len(clustering.members["w"]))
    assert counts == [2, 4, 5, 5]


def test_the_next_round_starts_from_the_previous_clusters() -> None:
    """A local optimum of K-means, which another start would leave, and K does not grow: no seed changes it."""
    rows = [[0.0, 0.0], [0.0, 1.0], [10.0, 0.0], [10.0, 1.0]]
    tasks, sigma = flat_tasks(rows)
    flat = {"w": (("t0", "t2"), ("t1", "t3"))}
    config = settings(clusters_per_round=1)
    for seed in range(5):
        outcome = consolidate(tasks, sigma, Clustering(1, flat), config, seed=seed)
        assert set(outcome.clustering.members["w"]) == set(flat["w"])


def test_earlier_clusters_stay_where_a_new_clustering_costs_more() -> None:
    shared = [[0.5, 0.5, 0.5, own, 0.0] for own in (5.0, 5.1, -5.0, -5.1)]
    tasks, sigma = flat_tasks(shared)
    once = consolidate(tasks, sigma, UNCLUSTERED, settings(clusters_per_round=1))
    twice = consolidate(once.tasks, once.sigma, once.clustering, settings(clusters_per_round=1))
    part = twice.report["w"]
    assert (part.local_shared_before, part.local_shared_after, part.inertia) == (3, 3, None)
    assert twice.clustering.members == once.clustering.members
    assert [own.clusters for own in twice.tasks] == [{"w": 0}] * 4


def test_forgotten_tasks_leave_the_clusters() -> None:
    tasks, sigma = flat_tasks(PAIRS)
    once = consolidate(tasks, sigma, UNCLUSTERED, settings())
    left = once.tasks[1:]
    twice = consolidate(left, sigma, once.clustering, settings())
    names = {name for names in twice.clustering.members["w"] for name in names}
    assert names == {"t1", "t2", "t3"}
    for old, new in zip(left, twice.tasks, strict=True):
        torch.testing.assert_close(compose(new), compose(old), rtol=0, atol=ROUNDING)


def test_tasks_on_one_sigma_are_not_moved_to_another() -> None:
    tasks, sigma = flat_tasks(PAIRS)
    outcome = consolidate(tasks, sigma, UNCLUSTERED, settings())
    assert outcome.sigma is sigma
    assert (outcome.sigma_moved, outcome.tau_stored) == (0, 6)


def test_tasks_must_be_there_and_have_different_names() -> None:
    sigma = {"w": torch.zeros(1, 1)}
    twin = task("shoes", sigma, {"w": torch.ones(1, 1)})
    with pytest.raises(StateError, match="different names, found \\['shoes', 'shoes'\\]"):
        consolidate([twin, twin], sigma, UNCLUSTERED, settings())
    with pytest.raises(StateError, match="needs tasks"):
        consolidate([], sigma, UNCLUSTERED, settings())


def test_a_clustering_survives_json() -> None:
    tasks, sigma = flat_tasks(PAIRS)
    clustering = consolidate(tasks, sigma, UNCLUSTERED, settings()).clustering
    assert Clustering.from_json(json.loads(json.dumps(clustering.to_json()))) == clustering
