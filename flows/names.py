"""Names that an operator reads: of flow runs and of artifacts."""

import hashlib
import re

from prefect import runtime

from apd.store import stream_name


def artifact_key(*parts: str) -> str:
    """A key Prefect accepts: lowercase letters, digits, dashes. The same parts give the same key, hence a history."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def distinct(name: str) -> str:
    """What keeps a name apart in a key from all others: `a-b` as it is, `a.b` with the beginning of its digest."""
    kept = artifact_key(name)
    return kept if kept == name else f"{kept}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def run_name() -> str:
    """`learn-shoes-boots`: the flow, the stream, and the task where the flow has one."""
    parameters = runtime.flow_run.parameters
    parts = [runtime.flow_run.flow_name, stream_name(parameters["stream"]), parameters.get("task")]
    return "-".join(part for part in parts if part)
