"""How far a long transfer is."""

import threading
from collections.abc import Callable

Moved = Callable[[int], None]
"""Called with the number of bytes that were just moved, from any thread."""

Progress = Callable[[int, int], None]
"""Called with the bytes moved so far and the bytes there are."""


def unheard(*_: int) -> None:
    """For who does not want to know."""


class Meter:
    """Adds up what the threads of one transfer move."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total = total
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()

    def moved(self, count: int) -> None:
        """Report so many bytes more."""
        with self._lock:
            self._done += count
            self._progress(self._done, self._total)
