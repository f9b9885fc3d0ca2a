"""The `apd` command. Each module holds a group of commands, and imports what a command needs when it runs."""

import atexit
import gc

from flows.cli import benchmark, keep, look, operations, start, use, work
from flows.cli.app import app

__all__ = ["benchmark", "keep", "look", "main", "operations", "start", "use", "work"]


def main() -> None:
    """Entry point of the `apd` command."""
    atexit.register(gc.freeze)  # or the interpreter looks at all that was imported once more before it ends
    app()
