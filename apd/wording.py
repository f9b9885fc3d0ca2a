"""How sentences are put together that people read: messages of commits, errors, reports and commands alike."""


def counted(number: int, noun: str) -> str:
    """3, `cluster` -> `3 clusters`; 1 -> `1 cluster`; 12000 -> `12,000 clusters`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
