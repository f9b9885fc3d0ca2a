"""The `apd` command. Each module holds a group of commands, and imports what a command needs when it runs."""

from flows.cli import benchmark, keep, look, operations, start, use, work
from flows.cli.app import app

__all__ = ["benchmark", "keep", "look", "main", "operations", "start", "use", "work"]


def main() -> None:
    """Entry point of the `apd` command."""
    app()
