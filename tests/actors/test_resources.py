"""What a cluster could hold: the nodes that are there, and those that an autoscaler may add."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from ray._private.state import state
from ray._raylet import GCS_AUTOSCALER_CLUSTER_CONFIG_KEY, GCS_AUTOSCALER_STATE_NAMESPACE
from ray.experimental.internal_kv import internal_kv_get_gcs_client

from apd.actors import events
from apd.actors.resources import announce_groups, check_resources, room
from apd.config import ResourceConfig
from apd.errors import ConfigError, NoNode
from tests.actors.conftest import Nodes, alive, wait_until
from tests.actors.troubled import Troubled

pytestmark = pytest.mark.usefixtures("nodes", "no_actor_left")

LARGE = {"name": "large", "resources": {"CPU": 8, "GPU": 4, "memory": 2**34}, "max_count": 3}
WANTED = ResourceConfig(num_cpus=4, num_gpus=2, memory=2**32)
"""Two of them fit on a large node, none on those of the tests' Ray."""


@pytest.fixture
def large(nodes: Nodes) -> Iterator[None]:
    """The head is told of an autoscaler's group whose nodes are not there; afterwards it knows of none."""
    announce_groups(json.dumps([LARGE]))
    yield
    client = internal_kv_get_gcs_client()
    client.internal_kv_del(
        GCS_AUTOSCALER_CLUSTER_CONFIG_KEY.encode(), False, namespace=GCS_AUTOSCALER_STATE_NAMESPACE.encode()
    )
    assert state.get_cluster_config() is None


def test_without_an_autoscaler_only_the_nodes_count(nodes: Nodes) -> None:
    with pytest.raises(NoNode, match=r"no Ray node has that; the nodes have: CPU 2, .*; CPU 1, .*\. Ask for less"):
        check_resources(WANTED)


@pytest.mark.parametrize(("share", "times"), [(0.2, 5), (0.1, 10), (0.05, 20), (0.3, 3), (1, 1)])
def test_shares_that_fill_a_node_fit_on_it(share: float, times: int) -> None:
    wanted = ResourceConfig(num_cpus=share)
    assert room(wanted) == 3 * times if share < 1 else 3


def test_nodes_that_are_alike_are_named_once(nodes: Nodes) -> None:
    nodes.add(tape=1)
    nodes.add(tape=1)
    with pytest.raises(NoNode, match=r"the nodes have: CPU 2, tape 0; 2 times CPU 1, tape 1; CPU 1, tape 0\. Ask"):
        check_resources(ResourceConfig(num_cpus=4, custom={"tape": 1}))


def test_what_a_node_to_come_could_hold_is_waited_for(large: None) -> None:
    check_resources(WANTED)
    check_resources(WANTED, actors=6)
    assert (room(WANTED), room(WANTED, grown=True)) == (1, 6)


def test_work_begins_once_its_node_has_come(large: None, nodes: Nodes) -> None:
    announce_groups(json.dumps([{"name": "tapes", "resources": {"CPU": 1, "tape": 1}, "max_count": 2}]))
    wanted = ResourceConfig(num_cpus=1, custom={"tape": 1})
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(next, events(Troubled, "count_and_reject", "anywhere", 1, resources=wanted))
        wait_until(lambda: "Troubled" in [kind for _, kind in alive()])
        nodes.add({"RAY_NODE_TYPE_NAME": "tapes"}, tape=1)
        assert first.result() == 0


def test_what_neither_a_node_nor_one_to_come_could_hold_is_refused(large: None) -> None:
    with pytest.raises(NoNode, match=r"asks for CPU 1, GPU 5 but no Ray node has that; .* 3 times CPU 8, GPU 4\."):
        check_resources(ResourceConfig(num_gpus=5))
    with pytest.raises(NoNode, match=r"7 workers ask for CPU 4, GPU 2, .* but the Ray nodes have room for 6"):
        check_resources(WANTED, actors=7)


def test_a_node_that_came_is_not_counted_as_one_to_come_too(large: None, nodes: Nodes) -> None:
    alone = ResourceConfig(num_cpus=1, custom={"tape": 1})
    announce_groups(json.dumps([{"name": "tapes", "resources": {"CPU": 1, "tape": 1}, "max_count": 2}]))
    nodes.add({"RAY_NODE_TYPE_NAME": "tapes"}, tape=1)
    assert (room(alone), room(alone, grown=True)) == (1, 2)
    with pytest.raises(NoNode, match="have room for 2"):
        check_resources(alone, actors=3)


def test_a_group_without_a_limit_holds_any_number(large: None) -> None:
    announce_groups(json.dumps([LARGE | {"max_count": -1}]))
    check_resources(WANTED, actors=1000)


@pytest.mark.parametrize("text", ["8 nodes", '[{"nodes": 8}]', '{"name": "gpu"}'])
def test_groups_that_cannot_be_read_are_refused(nodes: Nodes, text: str) -> None:
    with pytest.raises(ConfigError, match="groups of nodes should read like"):
        announce_groups(text)
