"""`evaluate`: how good every task is now."""

from prefect import flow

from apd.actors import cluster
from flows import steps
from flows.forms import StreamUrl, VersionNumber
from flows.names import run_name
from flows.runs import label


@flow(flow_run_name=run_name)
def evaluate(stream: StreamUrl, version: VersionNumber | None = None, again: bool = False) -> None:
    """Measure the tasks of a version whose parameters were never measured.

    Args:
        stream: URL of the stream, a folder or s3://bucket/prefix.
        version: Which version. Not given: the newest.
        again: Measure every task anew, even where the stored parameters have not changed.
    """
    label(stream)
    with cluster(stream):
        steps.evaluate(stream, version, again)
