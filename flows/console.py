"""What the terminal shows while a flow runs in it: the steps' own lines, not the engine's.

`prepare` must run before Prefect is imported, because Prefect reads its environment then.
"""

import logging
import os
import pathlib
import sys

ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
}
"""Nothing calls home; Prefect's own console lines stay out of ours. What the user has set stays."""

HERE = str(pathlib.Path(__file__).parent)


class StepsOnly(logging.Filter):
    """Records that our flows and steps wrote; the API still gets all of them."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record was logged by a file of this package."""
        return record.pathname.startswith(HERE)


def prepare() -> None:
    """Quiet surroundings, and a handler on standard error for what flows and steps say."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import prefect.main  # noqa: F401  its import configures logging, which would drop a handler added before

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    handler.addFilter(StepsOnly())
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addHandler(handler)
