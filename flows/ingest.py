"""`ingest`: what lies complete in the inbox becomes an arrival, exactly once, or is rejected with its reason."""

from typing import cast

from prefect import flow

from flows import steps
from flows.forms import StreamUrl
from flows.names import run_name
from flows.runs import label, skipped


@flow(flow_run_name=run_name)
def ingest(stream: StreamUrl) -> list[str]:
    """Validate and register the tasks that have arrived.

    Args:
        stream: URL of the stream, a folder or s3://bucket/prefix.

    Returns:
        Names of the tasks that wait to be learned, oldest first.
    """
    reason = steps.no_stream(stream)
    if reason:
        return cast(list[str], skipped(reason))
    label(stream)
    steps.find_arrivals(stream)
    return steps.list_waiting(stream)
