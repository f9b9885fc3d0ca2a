"""`report`: what an operator opens first."""

from prefect import flow

from flows import steps
from flows.forms import StreamUrl, VersionNumber
from flows.names import run_name
from flows.runs import label


@flow(flow_run_name=run_name)
def report(stream: StreamUrl, version: VersionNumber | None = None, benchmark: str | None = None) -> str:
    """Write the report of a version: an HTML file in the store, tables as artifacts.

    Args:
        stream: URL of the stream, a folder or s3://bucket/prefix.
        version: Which version. Not given: the newest.
        benchmark: Folder or s3://bucket/prefix with the results of `apd benchmark` on the same tasks. The report then
            shows how much a task's accuracy depends on the order of arrival.

    Returns:
        URL of the HTML file.
    """
    label(stream)
    return steps.publish_report(stream, version, benchmark)
