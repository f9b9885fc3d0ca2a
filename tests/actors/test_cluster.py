"""The connection to a cluster, and what is refused before any work starts."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from apd.actors import cluster, events
from apd.config import ResourceConfig
from apd.errors import ClusterError
from tests.actors.conftest import Nodes, processes_of, wait_until
from tests.actors.troubled import Troubled


@pytest.fixture
def unconnected(started: Nodes) -> None:
    """This process as it is before it has connected; the cluster stays, and the next test connects again."""
    ray.shutdown()


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where Ray puts its temporary files; a short path, or its sockets have no room in theirs."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir=os.environ["PYTEST_DEBUG_TEMPROOT"]) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


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


def test_a_cluster_that_wants_a_token_which_is_not_there_is_an_error_of_ours(started: Nodes, tmp_path: Path) -> None:
    """In a process of its own: Ray reads how to authenticate once."""
    script = f"from apd.actors import cluster\nwith cluster({str(tmp_path)!r}, {started.address!r}): pass"
    environment = os.environ | {"RAY_AUTH_MODE": "token", "HOME": str(tmp_path)}
    environment.pop("RAY_AUTH_TOKEN", None)
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert f"ClusterError: no connection to the Ray cluster at {started.address}: Token authentication" in ended.stderr
    assert "no authentication token was found" in ended.stderr


def test_what_a_local_ray_writes_goes_with_it(temporary: Path) -> None:
    script = f"from apd.actors import cluster\nwith cluster({str(temporary)!r}, 'local'): print(*os.listdir('.'))"
    done = subprocess.run([sys.executable, "-c", f"import os\n{script}"], cwd=temporary, capture_output=True, text=True)
    assert done.stdout.startswith("apd-run-")
    assert list(temporary.iterdir()) == []


def test_a_local_ray_that_does_not_start_is_an_error_that_says_so_and_leaves_what_it_wrote(temporary: Path) -> None:
    script = f"from apd.actors import cluster\nwith cluster({str(temporary)!r}, 'local'): pass"
    with subprocess.Popen(
        [sys.executable, "-c", script], start_new_session=True, stderr=subprocess.PIPE, text=True
    ) as caller:
        wait_until(lambda: "raylet" in processes_of(caller.pid).values())
        (node,) = [process for process, name in processes_of(caller.pid).items() if name == "raylet"]
        os.kill(node, signal.SIGSTOP)
        _, said = caller.communicate()
    assert "ClusterError: Ray did not start on this machine, which may be too busy; try again: The current node" in said
    wait_until(lambda: not processes_of(caller.pid))
    assert list(temporary.rglob("gcs_server.out"))


def test_work_without_a_connection_is_refused(unconnected: None) -> None:
    with pytest.raises(ClusterError, match="no connection to Ray"):
        next(events(Troubled, "stay", "anywhere", resources=ResourceConfig()))
