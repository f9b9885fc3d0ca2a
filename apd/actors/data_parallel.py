"""One task on several workers: Ray Train places them and has them meet, `apd.team` says what they tell each other.

    caller <── Coordinator, with Ray Train's controller ──> workers: a Trainer each, on its share of every batch
                    ^                                          │
                    └───── every epoch, then the result ───────┘  the worker of rank 0

Ray Train repeats nothing: what a worker fails with is raised to the caller, who owns the retries, and the next team
goes on from the attempt that rank 0 left in the store. Ray Train's own checkpoints are not used. All that it starts is
owned by the coordinator's process, so that Ray ends it with that; the workers' resources are the caller's.
"""

import contextlib
import os
import queue
import socket
import tempfile
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from torch import distributed

from apd.actors.resources import check_resources, requests
from apd.actors.versions import versions
from apd.actors.work import LOST, REASON, events, require_connection
from apd.actors.workers import Trainer, Worker
from apd.config import ResourceConfig
from apd.device import is_of_the_gpu, is_out_of_memory
from apd.errors import ClusterError, WorkerLost
from apd.store import Candidate
from apd.team import Team
from apd.training import Progress

Event = Progress | Candidate

SETTINGS = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # own networks are found by paths relative to where the flow runs
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(30 * 24 * 3600),  # a team waits for busy nodes as an actor does
}
"""Ray Train takes these from the environment alone."""


def learning(url: str, task: str, base: int, resources: ResourceConfig) -> Generator[Event, None, None]:
    """Learn a task as `Trainer.learn` does, on an actor of its own or on as many workers as the resources say.

    Raises NoNode when the cluster could never hold them; else as `events`. Close the iterator to end them all.
    """
    if resources.workers == 1:
        yield from events(Trainer, "learn", url, task, base, resources=resources)
        return
    require_connection()
    check_resources(resources, resources.workers)
    with _place_for(resources) as place:
        yield from events(Coordinator, "learn", url, task, base, resources, place, resources=resources)


@contextlib.contextmanager
def _place_for(resources: ResourceConfig) -> Iterator[PlacementGroup]:
    """Resources of the workers, together as soon as they are free; given back when the block ends, however."""
    place = placement_group([requests(resources)] * resources.workers)
    try:
        yield place
    finally:
        if ray.is_initialized():
            remove_placement_group(place)


class Coordinator(Worker):
    """Has a team learn a task, and passes on what its rank 0 tells; computes nothing itself."""

    waits = True

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._told: queue.SimpleQueue[Event | None] = queue.SimpleQueue()

    def tell(self, event: Event) -> None:
        """For the worker of rank 0, while `learn` goes on in another thread."""
        self._told.put(event)

    def learn(self, task: str, base: int, resources: ResourceConfig, place: PlacementGroup) -> Iterator[Event]:
        """As `Trainer.learn`. Raises WorkerLost when a worker is lost, ClusterError when the team cannot be formed."""
        own = ray.get_runtime_context().current_actor
        duty = {"url": self.url, "task": task, "base": base, "coordinator": own}
        duty |= {"versions": versions(), "host": socket.gethostname()}
        with ThreadPoolExecutor(1) as pool:
            work = pool.submit(_run_team, duty, resources, place)
            work.add_done_callback(lambda _: self._told.put(None))
            while (event := self._told.get()) is not None:
                yield event
            work.result()


def _run_team(duty: Mapping[str, Any], resources: ResourceConfig, place: PlacementGroup) -> None:
    """Start the workers in their place, wait for their end; errors as `Coordinator.learn` says."""
    os.environ.update(SETTINGS)
    from ray.train.torch import TorchConfig
    from ray.train.v2.api import config, exceptions  # `ray.train` has the same, under other types for type checkers

    from apd.actors.ray_train import Run

    wanted = requests(resources)
    scaling = config.ScalingConfig(num_workers=resources.workers, use_gpu="GPU" in wanted, resources_per_worker=wanted)
    failures = config.FailureConfig(max_failures=0, controller_failure_limit=0, max_preemption_failures=0)
    # two workers that share a GPU cannot use NCCL
    backend = TorchConfig(backend="cpu:gloo,cuda:nccl" if resources.num_gpus >= 1 else "gloo")
    with tempfile.TemporaryDirectory(prefix="apd-team-") as scratch:
        kept = config.RunConfig(storage_path=scratch, failure_config=failures)
        settings = {"torch_config": backend, "scaling_config": scaling, "run_config": kept}
        run = Run(_work, place, train_loop_config=dict(duty), **settings)
        try:
            run.fit()
        except exceptions.WorkerGroupError as error:
            raise reason(error.worker_failures) from None
        except exceptions.TrainingFailedError as error:
            raise _no_team(error) from None


def _work(duty: dict[str, Any]) -> None:
    """What each worker does, in a process of its own."""
    trainer = Trainer(duty["url"])
    trainer.expect(duty["versions"], duty["host"])
    trainer.team = Team(distributed.get_rank(), distributed.get_world_size())
    for event in trainer.learn(duty["task"], duty["base"]):
        if trainer.team.leads:
            ray.get(duty["coordinator"].tell.remote(event))


def reason(failures: Mapping[int, Exception]) -> Exception:
    """Why workers failed, by rank: what one of them raised itself, or else that one of them was lost."""
    causes = {rank: getattr(error, "health_check_failure", error) for rank, error in failures.items()}
    lost = {rank: error for rank, error in causes.items() if isinstance(error, (WorkerLost, *LOST))}
    for error in causes.values():
        if is_out_of_memory(error):
            return WorkerLost(f"a worker ran out of memory ({error}); give it more, or make the batches smaller")
    for rank, error in causes.items():
        if rank not in lost:
            return ClusterError(f"a worker's GPU failed: {error}") if is_of_the_gpu(error) else error
    rank, error = min(lost.items(), key=lambda one: isinstance(one[1], WorkerLost))  # the others only missed it
    reason = " ".join(str(error).split())[:REASON]
    return WorkerLost(f"worker {rank} of the team was lost before its work was finished: {reason}")


def _no_team(error: Exception) -> Exception:
    """Why there were no workers, or no end of them."""
    cause = getattr(error, "controller_failure", error)
    reason = " ".join(f"{type(cause).__name__}: {cause}".split())[:REASON]
    lost = isinstance(cause, LOST) or type(cause).__name__ == "WorkerGroupStartupFailedError"
    kind = WorkerLost if lost else ClusterError
    return kind(f"the workers of a team could not be joined by Ray Train: {reason}")
