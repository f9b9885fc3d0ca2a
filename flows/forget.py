"""`forget`: a task leaves the model, with evidence."""

from prefect import flow

from flows import steps
from flows.forms import StreamUrl, TaskName
from flows.names import run_name
from flows.runs import label


@flow(flow_run_name=run_name)
def forget(stream: StreamUrl, task: TaskName) -> int:
    """Remove a task's parameters and data from every version; the other tasks keep theirs, bit for bit.

    Args:
        stream: URL of the stream, a folder or s3://bucket/prefix.
        task: Name of a task that was learned, refused or is waiting. There is no way back.

    Returns:
        Number of the version without it, whose details hold the evidence.
    """
    label(stream, task)
    return steps.forget_task(stream, task).number
