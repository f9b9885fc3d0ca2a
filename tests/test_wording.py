"""Sentences for people."""

import pytest

from apd.wording import counted


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 clusters"), (1, "1 cluster"), (2, "2 clusters"), (12_000, "12,000 clusters")]
)
def test_what_is_counted_agrees_with_its_number(number: int, said: str) -> None:
    assert counted(number, "cluster") == said
