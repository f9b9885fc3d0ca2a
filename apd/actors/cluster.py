"""A connection to Ray for the time of a block."""

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator

import ray
from ray import exceptions
from ray._private import auto_init_hook

from apd.actors.resources import nodes
from apd.actors.work import release_all
from apd.errors import ClusterError
from apd.store import is_local

LOCAL = {
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A head that was ended together with us, by a signal to the whole group, does not come back: 60 s otherwise.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
}
"""Environment of a Ray that this process starts for itself; what the user has set stays."""


@contextlib.contextmanager
def cluster(url: str, address: str | None = None) -> Iterator[None]:
    """Connect to Ray for the time of the block: the connection there is, `address`, RAY_ADDRESS, or a local Ray.

    Whoever opened the connection closes it; every actor of this process is gone then. Raises ClusterError when the
    cluster cannot be reached, asks for a token that is not there, runs other versions, or has nodes on other machines
    while the stream at `url` is a local folder that they could not see.

    What a local Ray writes, its logs above all, is in a folder `apd-run-...` in RAY_TMPDIR or among the temporary ones,
    and goes with it unless the block ends with an error.
    """
    if ray.is_initialized():
        yield
        return
    # Or a thread that still works when the connection is closed starts another Ray, as whoever calls it without one.
    auto_init_hook.enable_auto_connect = False
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    written = tempfile.mkdtemp(prefix="apd-run-", dir=os.environ.get("RAY_TMPDIR")) if address == "local" else None
    with _own_answer_to_termination():
        _connect(address, written)
    try:
        _refuse_folder_out_of_reach(url)
        yield
    finally:
        release_all()
        ray.shutdown()
    if written:
        shutil.rmtree(written, ignore_errors=True)  # a process may be writing its last line


@contextlib.contextmanager
def _own_answer_to_termination() -> Iterator[None]:
    """Keep what this process does at SIGTERM.

    Ray replaces it by an end without any `finally`: a cancelled flow could not say any more that it was cancelled.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone may set it
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _connect(address: str, written: str | None) -> None:
    if address.startswith("ray://"):
        raise ClusterError(
            f"{address} is a Ray client's address, whose work dies with a short cut of the network; start the flow on "
            "a node of the cluster (`ray job submit`, or RAY_ADDRESS=auto there)"
        )
    try:
        if written:
            _start_local(written)
        else:
            ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError, exceptions.AuthenticationError) as error:
        raise ClusterError(
            f"no connection to the Ray cluster at {'this machine' if written else address}: {error}"
        ) from error


def _start_local(written: str) -> None:
    for name, value in LOCAL.items():
        os.environ.setdefault(name, value)
    # Its processes listen on all addresses. Ray turns tokens on by itself; setting RAY_AUTH_MODE here comes too late.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        ray.init(
            address="local",  # without it Ray joins whatever cluster was started last on this machine
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=128 * 2**20,
            _temp_dir=written,  # where programs that look for "the" Ray of this machine do not find it
        )
    except Exception as error:
        if type(error) is not Exception:
            raise
        # Ray's word for a node that was not there after 30 s
        raise ClusterError(f"Ray did not start on this machine, which may be too busy; try again: {error}") from error


def _refuse_folder_out_of_reach(url: str) -> None:
    if not is_local(url):
        return
    if url.startswith("memory://"):
        raise ClusterError(f"the stream {url} is in this process's memory, which no actor can read; use a folder")
    elsewhere = {node["NodeManagerHostname"] for node in nodes()} - {socket.gethostname()}
    if elsewhere:
        raise ClusterError(
            f"the stream is the local folder {url} but the Ray cluster has nodes on {', '.join(sorted(elsewhere))}, "
            "which cannot read it; keep the stream in a bucket (s3://...) or use a local Ray"
        )
