"""What an actor asks of the cluster, and whether any node could ever give it."""

from typing import Any

import ray

from apd.config import ResourceConfig
from apd.errors import NoNode


def nodes() -> list[dict[str, Any]]:
    """Ray's description of every node that is alive."""
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


def check_resources(wanted: ResourceConfig) -> None:
    """Raise NoNode unless some node is large enough for one actor; waiting for it would last for ever."""
    needs = _requests(wanted)
    have = [node["Resources"] for node in nodes()]
    if any(all(node.get(name, 0) >= amount for name, amount in needs.items()) for node in have):
        return
    asked = ", ".join(f"{name} {amount:g}" for name, amount in needs.items())
    offers = "; ".join(", ".join(f"{name} {node.get(name, 0):g}" for name in needs) for node in have)
    raise NoNode(
        f"an actor asks for {asked} but no Ray node has that; the nodes have: {offers}. "
        "Ask for less in the stream's resources, or add such a node"
    )


def room(wanted: ResourceConfig) -> int:
    """How many actors that ask for this the cluster holds at once when it has nothing else to do; one at least."""
    needs = _requests(wanted)
    have = [node["Resources"] for node in nodes()]
    held = (min(int(node.get(name, 0) // amount) for name, amount in needs.items()) for node in have)
    return max(sum(held), 1)


def _requests(wanted: ResourceConfig) -> dict[str, float]:
    memory = {} if wanted.memory is None else {"memory": float(wanted.memory)}
    gpus = {"GPU": wanted.num_gpus} if wanted.num_gpus else {}
    return {"CPU": wanted.num_cpus, **gpus, **memory, **wanted.custom}
