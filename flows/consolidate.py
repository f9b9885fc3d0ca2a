"""`consolidate`: taus that resemble each other become shared parameters of a cluster."""

from collections.abc import Iterator

from prefect import flow

from apd.actors import cluster
from apd.errors import AlreadyExists
from apd.overview import is_due, refit_is_due
from apd.store import Proposal, Stream, Version
from flows import gates, steps
from flows.forms import StreamUrl
from flows.names import run_name
from flows.runs import label, name_version, skipped


@flow(flow_run_name=run_name)
def consolidate(stream: StreamUrl, only_if_due: bool = False, publish: bool = True) -> int | None:
    """Cluster the taus, measure what that does, and make it the head unless a task loses more than the stream allows.

    Where a task would, it is tried again with a third of the tolerance. When every try was refused the head stays, and
    the run ends as Refused. With `consolidation.refit` the first one learns sigma again instead, from all tasks so far.

    Args:
        stream: URL of the stream, a folder or s3://bucket/prefix.
        only_if_due: Do nothing unless `consolidate_every` tasks were learned since the last consolidation.
        publish: Write the report of the new version.

    Returns:
        Number of the new version; None when nothing was due or every try was refused.
    """
    reason = steps.no_stream(stream)
    if reason:
        return skipped(reason)  # type: ignore[no-any-return]
    label(stream)
    while True:
        opened = Stream.open(stream)
        head = opened.head()
        if not head.entries or (only_if_due and not is_due(opened)):
            return None
        try:
            with cluster(stream):  # which also serves how long the commit takes
                proposal = _first_that_passes(opened, head)
                version = steps.commit_consolidation(stream, proposal) if proposal else None
        except AlreadyExists:
            continue  # another version came first; there is a new head to consolidate
        if version is None:
            return gates.refused(gates.refuse_consolidation(stream, head.number))  # type: ignore[no-any-return]
        name_version(version)
        if publish:
            steps.publish_report(stream, version)
        else:
            steps.show_version(stream, version)
        return version


def _first_that_passes(stream: Stream, head: Version) -> Proposal | None:
    """The first that passes the gate: a refit where it is due, then the largest tolerance; None if there is none."""
    return next((one for one in _proposals(stream, head) if not gates.gate(stream.url, one)), None)


def _proposals(stream: Stream, head: Version) -> Iterator[Proposal]:
    if refit_is_due(stream, head):
        yield steps.refit(stream.url, head.number)
    for tolerance in stream.config.consolidation.tolerances:
        yield steps.cluster(stream.url, head.number, tolerance)
