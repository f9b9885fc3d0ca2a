"""Work that several actors share: evaluation and consolidation, on a real Ray of several nodes."""

from dataclasses import replace
from pathlib import Path

import pytest
import ray
import torch

from apd.actors import Evaluator, crew, propose, work
from apd.config import ConsolidationConfig, ResourceConfig
from apd.consolidation import consolidate
from apd.decomposition import bare_state
from apd.errors import TaskRejected, WorkerLost
from apd.store import Proposal, Stream
from flows.evaluate import evaluate
from tests.actors import small
from tests.actors.conftest import Nodes, alive, begun, wait_until
from tests.actors.troubled import Troubled

pytestmark = pytest.mark.usefixtures("nodes", "no_actor_left")
PLAIN = ResourceConfig()
CELLS = 40
"""So few that even a small network is cut into several blocks."""


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """Six tasks with taus that meet, consolidated after the fourth."""
    consolidation = ConsolidationConfig(tolerance=50.0, clusters_per_round=1, least_saving=1)
    place = tmp_path_factory.mktemp("learned") / "stream"
    stream = Stream.create(str(place), replace(small.config(), consolidation=consolidation))
    for number in range(6):
        small.learn_here(stream, small.accept(stream, number))
        if number == 3:
            stream.commit_consolidation(in_this_process(stream))
    return stream


def in_this_process(stream: Stream) -> Proposal:
    """The consolidation of the head, from all taus at once."""
    head, config = stream.head(), stream.config
    assert head.sigma is not None
    tasks = [stream.load_entry(entry) for entry in head.entries]
    settings, seed = config.consolidation, config.learning.seed
    outcome = consolidate(tasks, stream.load_sigma(head.sigma), stream.clustering(head), settings, seed, CELLS)
    return stream.write_consolidation(outcome, base=head)


@pytest.fixture
def all_free(nodes: Nodes) -> None:
    """The resources of earlier tests' actors are free again."""
    wait_until(lambda: ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"])


@pytest.mark.usefixtures("all_free")
def test_a_consolidation_by_several_actors_has_the_bits_of_one_in_one_process(learned: Stream) -> None:
    before, expected = begun(), in_this_process(learned)
    found = propose(learned, learned.head().number, 50.0, CELLS)
    assert begun() - before == 3  # as many as there is room for
    assert found.message == expected.message
    assert found.details["clusters"] >= 1
    for mine, other in zip(found.entries, expected.entries, strict=True):
        assert (mine.name, mine.theta_key, mine.tau_nnz) == (other.name, other.theta_key, other.tau_nnz)
        one, another = learned.load_entry(mine), learned.load_entry(other)
        assert one.clusters == another.clusters
        for name, tau in one.tau.items():
            assert torch.equal(tau.to_dense(), another.tau[name].to_dense())
            assert torch.equal(one.sigma[name], another.sigma[name])
        assert all(torch.equal(value, bare_state(another)[name]) for name, value in bare_state(one).items())
    reports = [learned.records.read_json("consolidation", one.details["blobs"]["report"]) for one in (found, expected)]
    assert reports[0]["parameters"] == reports[1]["parameters"]
    clusterings = [learned.records.read_json("clustering", one.clustering) for one in (found, expected)]
    assert clusterings[0]["members"] == clusterings[1]["members"]


@pytest.mark.usefixtures("all_free")
def test_evaluation_is_dealt_out_and_measures_what_one_process_does(learned: Stream) -> None:
    entries, before = learned.head().entries, begun()
    expected = [Evaluator(learned.url).evaluate(entry) for entry in entries]
    with crew(Evaluator, learned.url, PLAIN, most=2) as team:
        assert list(team.each("evaluate", entries)) == expected
    assert begun() - before == 2


def test_what_has_not_changed_is_not_evaluated_again_and_starts_no_actor(learned: Stream) -> None:
    evaluate(learned.url)
    before = begun()
    evaluate(learned.url)
    assert begun() == before
    learned.evaluations.remove(learned.head().entries[0].theta_key)
    evaluate(learned.url)
    assert begun() == before + 1


@pytest.mark.usefixtures("all_free")
def test_half_a_gpu_each_makes_two_actors_on_the_node_that_has_one() -> None:
    wanted = ResourceConfig(num_cpus=0.5, num_gpus=0.5)
    with crew(Troubled, "anywhere", wanted, most=5) as team:
        places = list(team.each("place", range(4)))
        assert all(team.each("has_gpu", range(2)))
    assert len(set(places)) == 2
    assert len({node for node, _ in places}) == 1


@pytest.mark.usefixtures("all_free")
def test_memory_decides_how_many_actors_a_node_holds() -> None:
    """Every node of these tests has 1 GiB to give."""
    with crew(Troubled, "anywhere", ResourceConfig(num_cpus=0.1, memory=600 * 2**20), most=5) as team:
        places = list(team.each("place", range(4)))
    assert len({node for node, _ in places}) == len(set(places)) == 2


@pytest.mark.usefixtures("all_free")
def test_a_busy_cluster_has_fewer_actors_in_a_crew() -> None:
    with crew(Troubled, "anywhere", ResourceConfig(num_cpus=1), most=2) as some:
        assert len(set(some.each("place", range(2)))) == 2
        assert not any(some.each("has_gpu", range(2)))  # not even the one on the node that has a GPU
        wait_until(lambda: ray.available_resources().get("CPU", 0) <= 1)
        with crew(Troubled, "anywhere", ResourceConfig(num_cpus=1), most=5) as others:
            assert len(set(others.each("place", range(3)))) == 1


@pytest.mark.usefixtures("all_free")
def test_actors_that_others_took_the_room_of_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two crews that begin together would each hold what the other waits for."""
    monkeypatch.setattr(work, "SETTLE", 1.0)
    whole = ResourceConfig(num_cpus=1)
    with work.several(Troubled, "anywhere", whole, 1), work.several(Troubled, "anywhere", whole, 3) as those:
        assert len(those) == 2
        wait_until(lambda: len(alive()) == 3)


def test_a_member_that_dies_is_lost_and_an_error_of_ours_comes_as_itself(tmp_path: Path) -> None:
    with crew(Troubled, str(tmp_path / "notes"), PLAIN, most=2) as team:
        team.one("note", "good")
        with pytest.raises(TaskRejected, match="bad: no good"):
            list(team.each("note", ["good", "bad", "good"]))
        with pytest.raises(WorkerLost, match="lost before its work was finished"):
            team.one("end", 0)
