"""Ray that is shut down under those who wait, in a process of its own."""

import subprocess
import sys

from tests.conftest import ROOT

WAITING = """
import os, threading, time
import ray
from apd.actors import crew
from apd.config import ResourceConfig
from apd.errors import ApdError
from tests.actors.troubled import Troubled

ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
begun = threading.Event()

def wait():
    try:
        with crew(Troubled, "anywhere", ResourceConfig(), most=1) as work:
            begun.set()
            work.one("end", 600.0)
    except ApdError as error:
        print(type(error).__name__, flush=True)

thread = threading.Thread(target=wait)
thread.start()
begun.wait(60)
time.sleep(1.0)  # it waits by then
ray.shutdown()
thread.join(20)
print("waits for ever" if thread.is_alive() else "ended", flush=True)
os._exit(0)
"""


def test_a_thread_that_waits_for_an_actor_hears_of_the_end_of_ray() -> None:
    ended = subprocess.run([sys.executable, "-c", WAITING], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "ended" in ended.stdout.splitlines(), ended.stdout + ended.stderr
