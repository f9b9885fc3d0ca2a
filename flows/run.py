"""`run`: everything that waits, in order of arrival."""

from prefect import flow, get_run_logger

from apd.actors import cluster
from apd.errors import ApdError
from flows.consolidate import consolidate
from flows.ingest import ingest
from flows.learn import learn
from flows.names import run_name
from flows.report import report


@flow(flow_run_name=run_name)
def run(stream: str, publish: bool = True) -> list[str]:
    """Ingest what lies in the inbox, learn what waits, consolidate when it is due, write the report.

    A task that cannot be learned does not hold up the others; it stays waiting, and the flow fails at its end.

    Args:
        stream: URL of the stream, a folder or s3://bucket/prefix.
        publish: write the report when something was learned.

    Returns:
        Names of the tasks that were learned.
    """
    learned, failed = [], {}
    with cluster(stream):
        for task in ingest(stream):
            try:
                learn(stream, task)
            except ApdError as error:
                get_run_logger().error("%s was not learned: %s", task, error)
                failed[task] = str(error)
                continue
            learned.append(task)
            consolidate(stream, only_if_due=True)
    if learned and publish:
        report(stream)
    if failed:
        raise ApdError("not learned, still waiting: " + "; ".join(f"{task} ({why})" for task, why in failed.items()))
    return learned
