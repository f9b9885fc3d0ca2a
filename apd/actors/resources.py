"""What an actor asks of the cluster, and whether any node, there or yet to come, could ever give it.

An autoscaler ends idle nodes and adds others when actors wait for them, so what is there now is not all there could be.
Which groups of nodes it may add is kept by the Ray head as a `ClusterConfig`. No autoscaler of Ray 2.60 reports one, so
infra/flow-worker does, by `announce_groups`.
"""

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ray
from ray import exceptions
from ray._private.state import state
from ray._raylet import RAY_NODE_GROUP_KEY  # type: ignore[attr-defined]
from ray.core.generated.autoscaler_pb2 import ClusterConfig  # type: ignore[attr-defined]
from ray.experimental import internal_kv

from apd.config import ResourceConfig
from apd.errors import ClusterError, ConfigError, NoNode


class Alike(NamedTuple):
    """Nodes with the same resources."""

    resources: Mapping[str, float]
    """Of each, by Ray's names."""
    number: int


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
    """Raise NoNode unless the nodes, and those an autoscaler may add, could hold so many actors at once.

    Waiting for them would last for ever.
    """
    there, to_come = _there(), _to_come()
    held = _held(wanted, there + to_come)
    if held >= actors:
        return
    asked = ", ".join(f"{name} {amount:g}" for name, amount in requests(wanted).items())
    what = f"an actor asks for {asked} but no Ray node has that"
    if actors > 1:
        what = f"{actors} workers ask for {asked} each but the Ray nodes have room for {held}"
    offers = f"the nodes have: {_offers(wanted, there)}"
    if to_come:
        offers += f"; an autoscaler may add: {_offers(wanted, to_come, counted=True)}"
    raise NoNode(f"{what}; {offers}. Ask for less in the stream's resources, or add such a node")


def room(wanted: ResourceConfig, grown: bool = False) -> int:
    """How many actors that ask for this the cluster holds at once when it has nothing else to do; one at least.

    grown: once an autoscaler has added all nodes it may. For work that can begin before these are there.
    """
    return max(_held(wanted, _there() + (_to_come() if grown else [])), 1)


def free(wanted: ResourceConfig) -> int:
    """How many actors that ask for this could start now, were all that is free on one node; one at least."""
    have = ray.available_resources()  # type: ignore[no-untyped-call]
    return max(min(_times(amount, have.get(name, 0)) for name, amount in requests(wanted).items()), 1)


def announce_groups(groups: str) -> None:
    """Tell the Ray head which nodes an autoscaler may add; it knows until it ends. Raises ConfigError for other text.

    groups: JSON like `[{"name": "gpu", "resources": {"CPU": 4, "GPU": 1}, "max_count": 8}]`, the resources those of one
    node, memory in bytes. All groups whose nodes may train: Ray Train takes the cluster to be no larger than they are.
    """
    try:
        config = ClusterConfig(node_group_configs=json.loads(groups))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f'groups of nodes should read like [{{"name": "gpu", "resources": {{"CPU": 4}}, "max_count": 8}}], '
            f"not {groups!r}: {error}"
        ) from None
    head = internal_kv.internal_kv_get_gcs_client()  # type: ignore[no-untyped-call]
    head.report_cluster_config(config.SerializeToString())


def _there() -> list[Alike]:
    return [Alike(node["Resources"], 1) for node in nodes()]


def _to_come() -> list[Alike]:
    """The nodes that an autoscaler may add to those that are there."""
    there = Counter(node["Labels"].get(RAY_NODE_GROUP_KEY) for node in nodes())
    config = state.get_cluster_config()
    groups = config.node_group_configs if config else []
    most = ((group, sys.maxsize if group.max_count < 0 else group.max_count) for group in groups)
    return [Alike(group.resources, count - there[group.name]) for group, count in most if count > there[group.name]]


def _held(wanted: ResourceConfig, have: Sequence[Alike]) -> int:
    """How many actors these nodes hold when they have nothing else to do."""
    needs = requests(wanted).items()
    return sum(
        alike.number * min(_times(amount, alike.resources.get(name, 0)) for name, amount in needs) for alike in have
    )


def _times(amount: float, have: float) -> int:
    """How often an amount fits into what there is, in Ray's ten-thousandths: five times 0.2 are one."""
    return round(have * 10_000) // max(1, round(amount * 10_000))


def _offers(wanted: ResourceConfig, have: Sequence[Alike], counted: bool = False) -> str:
    """What these nodes have of what is asked for, the largest first; alike ones once, with their number."""
    kinds = Counter[tuple[float, ...]]()
    for alike in have:
        kinds[tuple(alike.resources.get(name, 0) for name in requests(wanted))] += alike.number
    listed = []
    for amounts, number in sorted(kinds.items(), reverse=True):
        text = ", ".join(f"{name} {amount:g}" for name, amount in zip(requests(wanted), amounts, strict=True))
        listed.append(f"{number} times {text}" if counted or number > 1 else text)
    return "; ".join(listed)


def requests(wanted: ResourceConfig) -> dict[str, float]:
    """What one actor asks for, by Ray's names of resources."""
    memory = {} if wanted.memory is None else {"memory": float(wanted.memory)}
    gpus = {"GPU": wanted.num_gpus} if wanted.num_gpus else {}
    return {"CPU": wanted.num_cpus, **gpus, **memory, **wanted.custom}
