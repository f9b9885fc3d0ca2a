"""The `apd` command. Each module holds a group of commands, and imports what a command needs when it runs."""

from flows.cli import inspect, tasks, work
from flows.cli.app import app

__all__ = ["inspect", "main", "tasks", "work"]


def main() -> None:
    """Entry point of the `apd` command."""
    app()
