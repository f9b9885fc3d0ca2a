"""`benchmark`: methods compared on a public stream of tasks, in several orders of arrival, from several seeds."""

from typing import Any

from prefect import flow

from apd.actors import cluster
from apd.benchmark import METHODS, cells, protocol_of
from apd.config import ResourceConfig, require
from apd.data.official import ORDERS
from flows.cells import command_for, prepare, publish, run_cells


@flow(flow_run_name="benchmark-{name}")
def benchmark(
    name: str,
    out: str,
    data: str | None = None,
    methods: list[str] | None = None,
    orders: list[str] | None = None,
    seeds: list[int] | None = None,
    settings: dict[str, Any] | None = None,
    resources: ResourceConfig | None = None,
    parallel: int | None = None,
) -> list[str]:
    """Run every method in every order from every seed, as many at once as the cluster has room for; write the table.

    Started again after it was stopped, it runs what is missing.

    Args:
        name: the benchmark: digits, omniglot-rotation, cifar100-split, cifar100-superclass, permuted-mnist, ...
        out: folder or s3://bucket/prefix of the results.
        data: folder with the official files, the same path on every node; digits needs none.
        methods: apd-fixed, apd1, apd2, stl, mtl, finetuning, ewc, or a variant at a budget, such as apd2@0.005; all.
        orders: of arrival, A to E; all five.
        seeds: one or more; 0.
        settings: what differs from the benchmark's defaults, for example {"learning": {"epochs": 5}}.
        resources: what one cell asks of the cluster.
        parallel: cells at a time; as many as the cluster has room for.

    Returns:
        URLs of what was written, the table's first.
    """
    settings, wanted = settings or {}, resources or ResourceConfig()
    require(parallel is None or parallel >= 1, "parallel", parallel, ">= 1")
    protocol, plan = protocol_of(name, settings), cells(methods or METHODS, orders or ORDERS, seeds or [0])
    prepare(out, protocol, data)
    with cluster(out):
        run_cells(out, plan, protocol, data, wanted, parallel)
    return publish(out, protocol, plan, command_for(name, plan, settings, data))
