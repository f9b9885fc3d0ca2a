"""`consolidate`: taus that resemble each other become shared parameters of a cluster."""

from typing import cast

from prefect import flow
from prefect.states import Completed

from apd.actors import cluster
from apd.errors import AlreadyExists
from apd.overview import is_due
from apd.store import Proposal, Stream
from flows import steps
from flows.names import run_name
from flows.runs import label, name_version


@flow(flow_run_name=run_name)
def consolidate(stream: str, only_if_due: bool = False) -> int | None:
    """Cluster the taus, measure what that does, and make it the head unless a task loses more than the stream allows.

    Args:
        stream: URL of the stream, a folder or s3://bucket/prefix.
        only_if_due: do nothing unless `consolidate_every` tasks were learned since the last consolidation.

    Returns:
        Number of the new version; None when nothing was due or the consolidation was refused.
    """
    label(stream)
    while True:
        opened = Stream.open(stream)
        head = opened.head()
        if not head.entries or (only_if_due and not is_due(opened)):
            return None
        with cluster(stream):
            proposal = steps.cluster(stream, head.number)
            reasons = steps.gate(stream, proposal)
        if reasons:
            return _refused(stream, proposal, reasons)
        try:
            version = steps.commit_consolidation(stream, proposal)
        except AlreadyExists:
            continue  # another version came first; there is a new head to consolidate
        name_version(version)
        steps.show_accuracy(stream, version)
        return version


def _refused(stream: str, proposal: Proposal, reasons: list[str]) -> int | None:
    """End the run in a state that says so: the proposal is kept aside, the head stays."""
    steps.set_aside(stream, proposal, reasons)
    return cast("int | None", Completed(name="Refused", message="; ".join(reasons)))
