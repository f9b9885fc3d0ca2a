"""How much the fault suite did, added up while it runs and printed at its end."""

import threading
from collections import Counter

COUNTS: Counter[str] = Counter()

_adding = threading.Lock()


def count(what: str, number: int = 1) -> None:
    """So much more of it was done, and found to be as it should."""
    with _adding:
        COUNTS[what] += number
