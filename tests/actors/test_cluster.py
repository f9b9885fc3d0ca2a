"""The connection to a cluster, and what is refused before any work starts."""

import socket
from pathlib import Path

import pytest
import ray

from apd.actors import cluster, events
from apd.config import ResourceConfig
from apd.errors import ClusterError
from tests.actors.conftest import Nodes
from tests.actors.troubled import Troubled


@pytest.fixture
def unconnected(started: Nodes) -> None:
    """This process as it is before it has connected; the cluster stays, and the next test connects again."""
    ray.shutdown()


def test_an_existing_cluster_is_joined_by_its_address_and_left_again(
    unconnected: None, started: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", started.address)
    with cluster(str(tmp_path)):
        assert len(ray.nodes()) >= 2
        with cluster(str(tmp_path)):
            pass
        assert ray.is_initialized()
    assert not ray.is_initialized()


def test_a_folder_that_other_machines_cannot_see_is_refused(
    unconnected: None, started: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = socket.gethostname()
    monkeypatch.setattr(socket, "gethostname", lambda: "another-machine")
    with pytest.raises(ClusterError, match=f"local folder {tmp_path} but the Ray cluster has nodes on {there}"):
        cluster(str(tmp_path), started.address).__enter__()
    assert not ray.is_initialized()


def test_a_stream_in_memory_is_refused(unconnected: None, started: Nodes) -> None:
    with pytest.raises(ClusterError, match="memory://stream is in this process's memory"):
        cluster("memory://stream", started.address).__enter__()


def test_the_address_of_a_ray_client_is_refused(unconnected: None, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="start the flow on a node of the cluster"):
        cluster(str(tmp_path), "ray://127.0.0.1:10001").__enter__()


def test_work_without_a_connection_is_refused(unconnected: None) -> None:
    with pytest.raises(ClusterError, match="no connection to Ray"):
        next(events(Troubled, "stay", "anywhere", resources=ResourceConfig()))
