"""How sentences are put together that people read: messages of commits, errors, reports and commands alike."""

import re


def counted(number: int, noun: str) -> str:
    """3, `cluster` -> `3 clusters`; 1 -> `1 cluster`; 12000 -> `12,000 clusters`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def masked(url: str) -> str:
    """`postgresql://user:secret@host/name` -> `postgresql://user:***@host/name`; a URL without a password as it is."""
    scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
    return scheme + separator + re.sub("^([^:/@]*):.*@", r"\1:***@", rest)
