"""What an actor asks of the cluster, and whether any node could ever give it."""

from typing import Any

import ray
from ray import exceptions
from ray.experimental import internal_kv

from apd.config import ResourceConfig
from apd.errors import ClusterError, NoNode


def nodes() -> list[dict[str, Any]]:
    """Ray's description of every node that is alive. Raises ClusterError when the head is not the one we connected to.

    A head that is started anew knows nothing of those who were connected to the one before; `ray.nodes` would end this
    process where it is told so.
    """
    try:
        internal_kv._internal_kv_exists("apd")
    except exceptions.AuthenticationError:
        raise ClusterError(
            "the Ray head was restarted while this process was connected to it, and knows neither its nodes nor its "
            "actors any more; start again once the cluster's nodes are back: finished epochs are kept"
        ) from None
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def actor_options(wanted: ResourceConfig) -> dict[str, Any]:
    """Options of an actor that asks for this. Ray restarts and repeats nothing: that is its caller's business."""
    return {
        "num_cpus": wanted.num_cpus,
        "num_gpus": wanted.num_gpus,
        "memory": wanted.memory,
        "resources": dict(wanted.custom),
        "max_restarts": 0,
        "max_task_retries": 0,
    }


IDLE: dict[str, Any] = {"num_cpus": 0, "max_concurrency": 2, "max_restarts": 0, "max_task_retries": 0}
"""Options of an actor that waits for others: it takes no resources, and can be called while it works."""


def check_resources(wanted: ResourceConfig, actors: int = 1) -> None:
    """Raise NoNode unless the nodes could hold so many actors at once; waiting for them would last for ever."""
    needs, held = requests(wanted), sum(_held(wanted))
    if held >= actors:
        return
    have = [node["Resources"] for node in nodes()]
    asked = ", ".join(f"{name} {amount:g}" for name, amount in needs.items())
    offers = "; ".join(", ".join(f"{name} {node.get(name, 0):g}" for name in needs) for node in have)
    what = f"an actor asks for {asked} but no Ray node has that"
    if actors > 1:
        what = f"{actors} workers ask for {asked} each but the Ray nodes have room for {held}"
    raise NoNode(f"{what}; the nodes have: {offers}. Ask for less in the stream's resources, or add such a node")


def room(wanted: ResourceConfig) -> int:
    """How many actors that ask for this the cluster holds at once when it has nothing else to do; one at least."""
    return max(sum(_held(wanted)), 1)


def free(wanted: ResourceConfig) -> int:
    """How many actors that ask for this could start now, were all that is free on one node; one at least."""
    have = ray.available_resources()  # type: ignore[no-untyped-call]
    return max(min(int(have.get(name, 0) // amount) for name, amount in requests(wanted).items()), 1)


def _held(wanted: ResourceConfig) -> list[int]:
    """How many actors each node holds when it has nothing else to do."""
    needs = requests(wanted)
    have = [node["Resources"] for node in nodes()]
    return [min(int(node.get(name, 0) // amount) for name, amount in needs.items()) for node in have]


def requests(wanted: ResourceConfig) -> dict[str, float]:
    """What one actor asks for, by Ray's names of resources."""
    memory = {} if wanted.memory is None else {"memory": float(wanted.memory)}
    gpus = {"GPU": wanted.num_gpus} if wanted.num_gpus else {}
    return {"CPU": wanted.num_cpus, **gpus, **memory, **wanted.custom}
