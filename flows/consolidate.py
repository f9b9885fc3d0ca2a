"""`consolidate`: taus that resemble each other become shared parameters of a cluster."""

from prefect import flow

from apd.actors import cluster
from apd.overview import is_due
from apd.store import Stream
from flows import steps
from flows.names import run_name


@flow(flow_run_name=run_name)
def consolidate(stream: str, only_if_due: bool = False) -> int | None:
    """Cluster the taus, measure what that does, and make it the head unless a task loses more than the stream allows.

    Args:
        stream: URL of the stream, a folder or s3://bucket/prefix.
        only_if_due: do nothing unless `consolidate_every` tasks were learned since the last consolidation.

    Returns:
        Number of the new version; None when nothing was due or the consolidation was refused.
    """
    opened = Stream.open(stream)
    head = opened.head()
    if not head.entries or (only_if_due and not is_due(opened)):
        return None
    with cluster(stream):
        proposal = steps.cluster(stream, head.number)
        reasons = steps.gate(stream, proposal)
    if reasons:
        steps.set_aside(stream, proposal, reasons)
        return None
    return steps.commit_consolidation(stream, proposal)
