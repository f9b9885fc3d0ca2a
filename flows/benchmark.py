"""`benchmark`: methods compared on a public stream of tasks, in several orders of arrival, from several seeds."""

from collections.abc import Sequence
from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from apd.actors import cluster
from apd.benchmark import METHODS, cells, protocol_of
from apd.config import ResourceConfig
from apd.data.official import ORDERS
from apd.data.official.orders import Order
from apd.errors import ApdError
from apd.store import normal_url
from flows.cells import command_for, prepare, publish, run_cells
from flows.forms import BenchmarkName, Count, Seed


@flow(flow_run_name="benchmark-{name}")
def benchmark(
    name: BenchmarkName,
    out: Annotated[str, Field(min_length=1, examples=["s3://bucket/results"])],
    data: str | None = None,
    methods: Sequence[str] = METHODS,
    orders: Sequence[Order] = ORDERS,
    seeds: Sequence[Seed] = (0,),
    settings: dict[str, Any] | None = None,
    resources: ResourceConfig | None = None,
    parallel: Count | None = None,
) -> list[str]:
    """Run every method in every order from every seed, as many at once as the cluster has room for; write the table.

    Started again after it was stopped, it runs what is missing. Where cells fail the others are run, and the methods
    that are whole published, before it ends with an error.

    Args:
        name: Which public stream of tasks.
        out: Folder or s3://bucket/prefix of the results.
        data: Folder with the official files, the same path on every node; digits needs none.
        methods: Any of apd-fixed, apd1, apd2, stl, mtl, finetuning, ewc; a variant at a budget reads apd2@0.005.
        orders: Orders of arrival.
        seeds: One or more; several give deviations.
        settings: What differs from the benchmark's defaults, for example {"learning": {"epochs": 5}}.
        resources: What one cell asks of the cluster.
        parallel: Cells at a time. Not given: as many as the cluster has room for.

    Returns:
        URLs of what was written, the table's first.
    """
    out = normal_url(out)  # a relative folder is meant from here, not from where a node of Ray was started
    settings, wanted = settings or {}, resources or ResourceConfig()
    protocol, plan = protocol_of(name, settings), cells(methods, orders, seeds)
    prepare(out, protocol, data)
    with cluster(out):
        failed = run_cells(out, plan, protocol, data, wanted, parallel)
    whole = [cell for cell in plan if cell.method not in {one.method for one in failed}]
    files = publish(out, protocol, whole, command_for(name, whole, settings, data)) if whole else []
    if failed:
        reasons = "; ".join(f"{cell.name} ({error})" for cell, error in failed.items())
        raise ApdError(
            f"{len(failed)} of {len(plan)} cells failed: {reasons}. Run the same again for them alone, with other "
            "--methods if it cannot end otherwise; the table has the methods whose cells are all finished"
        )
    return files
