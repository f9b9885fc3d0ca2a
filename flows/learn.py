"""`learn`: one arrival becomes part of the model."""

from prefect import flow

from apd.actors import cluster
from flows import steps
from flows.names import run_name
from flows.runs import label, name_version


@flow(flow_run_name=run_name)
def learn(stream: str, task: str) -> int | None:
    """Train one accepted task on a Ray actor, commit it as a new version and measure what is new in it.

    Running it again, or twice at the same time, changes nothing: a task is learned once.

    Args:
        stream: URL of the stream, a folder or s3://bucket/prefix.
        task: name of an accepted task.

    Returns:
        Number of the new version; None when the task had been learned before.
    """
    label(stream, task)
    with cluster(stream):
        steps.check_cluster(stream)
        candidate = steps.train(stream, task, steps.decide_base(stream, task))
        if candidate is None:
            return None
        version = steps.commit(stream, candidate)
        name_version(version)
        steps.evaluate(stream, version, again=False, task=task)
        steps.show_accuracy(stream, version)
        steps.announce_when_due(stream)
    return version
