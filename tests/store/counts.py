"""How much the fault suite did, added up while it runs and printed at its end."""

from collections import Counter

COUNTS: Counter[str] = Counter()


def count(what: str, number: int = 1) -> None:
    """So much more of it was done, and found to be as it should."""
    COUNTS[what] += number
