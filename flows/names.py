"""Names that an operator reads: of flow runs and of artifacts."""

import hashlib
import re

from prefect import runtime

from apd.store import normal_url, stream_name


def artifact_key(*parts: str) -> str:
    """A key Prefect accepts: lowercase letters, digits, dashes. The same parts give the same key, hence a history."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def stream_key(url: str) -> str:
    """What keeps a stream apart from all others, of the same name too: its name and the beginning of its URL's digest.

    `shoes-5c3b9ab9`: two folders `shoes` may be shown by one Prefect server.
    """
    return f"{artifact_key(stream_name(url))}-{_digest(normal_url(url))}"


def distinct(name: str) -> str:
    """What keeps a name apart in a key from all others: `a-b` as it is, `a.b` with the beginning of its digest."""
    kept = artifact_key(name)
    return kept if kept == name else f"{kept}-{_digest(name)}"


def run_name() -> str:
    """`learn-shoes-boots`: the flow, the stream, and the task where the flow has one."""
    parameters = runtime.flow_run.parameters
    parts = [runtime.flow_run.flow_name, stream_name(parameters["stream"]), parameters.get("task")]
    return "-".join(part for part in parts if part)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
