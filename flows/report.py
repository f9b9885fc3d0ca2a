"""`report`: what an operator opens first."""

from prefect import flow

from flows import steps
from flows.names import run_name
from flows.runs import label


@flow(flow_run_name=run_name)
def report(stream: str, version: int | None = None) -> str:
    """Write the report of a version: an HTML file in the store, tables as artifacts.

    Args:
        stream: URL of the stream, a folder or s3://bucket/prefix.
        version: which version; the newest when not given.

    Returns:
        URL of the HTML file.
    """
    label(stream)
    return steps.publish_report(stream, version)
