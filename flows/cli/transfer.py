"""How far a transfer is, on a terminal."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from apd.store.progress import Progress


@contextmanager
def shown(label: str) -> "Iterator[Progress]":
    """A bar with the time that is left, from the first byte on; nothing where standard error is no terminal."""
    from apd.store.progress import unheard

    bars: list[Any] = []
    with ExitStack() as stack:

        def show(done: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(typer.progressbar(length=total, label=label, file=sys.stderr)))
            bars[0].update(done - bars[0].pos)

        yield show if sys.stderr.isatty() else unheard
