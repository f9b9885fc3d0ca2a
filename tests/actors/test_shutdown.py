"""Ray that is shut down under those who wait, in a process of its own."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

WAITING = """
import os, sys, threading, time
import ray
from apd.actors import cluster, crew, events
from apd.config import ResourceConfig
from apd.errors import ApdError
from tests.actors.troubled import Troubled

begun = threading.Event()

def one():
    with crew(Troubled, "anywhere", ResourceConfig(), most=1) as work:
        begun.set()
        work.one("end", 600.0)

def several():
    for _ in events(Troubled, "stay", "anywhere", resources=ResourceConfig()):
        begun.set()

def room():
    everything = ResourceConfig(num_cpus=ray.cluster_resources()["CPU"])
    with crew(Troubled, "anywhere", everything, most=1):
        begun.set()
        with crew(Troubled, "anywhere", everything, most=1):
            print("there was room")

def wait():
    try:
        {"one": one, "several": several, "room": room}[sys.argv[1]]()
    except ApdError as error:
        print(type(error).__name__, error, flush=True)

thread = threading.Thread(target=wait)
with cluster(os.getcwd()):
    thread.start()
    begun.wait(60)
    time.sleep(1.0)  # it waits by then
    ray.shutdown()
    thread.join(20)
print("waits for ever" if thread.is_alive() else "ended", flush=True)
print("another Ray" if ray.is_initialized() else "no Ray", flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("waits_for", ["one", "several", "room"])
def test_a_thread_that_waits_for_an_actor_hears_of_the_end_of_ray(waits_for: str) -> None:
    """Nor does it start another Ray, as Ray does by itself for whoever calls it without a connection."""
    command = [sys.executable, "-c", WAITING, waits_for]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    expected = ["ClusterError the work was stopped before it had finished", "ended", "no Ray"]
    assert ended.stdout.splitlines() == expected, ended.stdout + ended.stderr
