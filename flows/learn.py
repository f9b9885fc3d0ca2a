"""`learn`: one arrival becomes part of the model."""

from prefect import flow

from apd.actors import cluster
from apd.errors import UnknownTask
from apd.store import Candidate
from flows import gates, steps
from flows.forms import IfRefused, StreamUrl, TaskName
from flows.names import run_name
from flows.runs import label, name_version


@flow(flow_run_name=run_name)
def learn(stream: StreamUrl, task: TaskName, if_refused: IfRefused = "leave") -> int | None:
    """Train one accepted task on a Ray actor, commit it as a new version and measure what is new in it.

    Running it again, or twice at the same time, changes nothing: a task is learned once. A task below what the stream
    demands of one (its `acceptance` settings) is refused: it is kept aside, and the run ends as Refused.

    Args:
        stream: URL of the stream, a folder or s3://bucket/prefix.
        task: Name of an accepted task.
        if_refused: What to do with a task below what the stream demands: leave it aside, accept it as it was trained,
            or train it again on the newest version.

    Returns:
        Number of the new version; None when the task had been learned before, or was refused.
    """
    label(stream, task)
    if if_refused == "train again":
        gates.withdraw(stream, task)
    known = gates.look_up(stream, task)
    if known and if_refused == "leave":
        return gates.refused(known.reasons)  # type: ignore[no-any-return]
    with cluster(stream):
        candidate = known.candidate if known else _trained(stream, task)
        if candidate is None:
            return None
        reasons = [] if if_refused == "accept" else gates.check_task(stream, candidate)
        if reasons:
            return gates.refused(reasons)  # type: ignore[no-any-return]
        version = steps.commit(stream, candidate)
        name_version(version)
        steps.evaluate(stream, version, again=False, task=task)
        steps.publish_report(stream, version)
        steps.announce_when_due(stream)
    return version


def _trained(stream: str, task: str) -> Candidate | None:
    """What training comes to; None when the head has the task."""
    steps.check_cluster(stream)
    base = steps.decide_base(stream, task)
    if base is None:
        raise UnknownTask(f"no task {task!r} has arrived in {stream}; `apd tasks` lists those that have")
    training = steps.train.submit(stream, task, base)
    return steps.first_done([training]).result()
