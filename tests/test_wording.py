"""Sentences for people."""

import pytest

from apd.wording import counted, masked


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 clusters"), (1, "1 cluster"), (2, "2 clusters"), (12_000, "12,000 clusters")]
)
def test_what_is_counted_agrees_with_its_number(number: int, said: str) -> None:
    assert counted(number, "cluster") == said


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://user:secret@host:5432/name", "postgresql://user:***@host:5432/name"),
        ("postgresql://user:s/e:c@r#e?t@host/name", "postgresql://user:***@host/name"),
        ("user:secret@host", "user:***@host"),
        ("http://:secret@host/api", "http://:***@host/api"),
        ("postgresql://user@host:5432/name", "postgresql://user@host:5432/name"),
        ("http://127.0.0.1:4200/api", "http://127.0.0.1:4200/api"),
    ],
)
def test_a_password_in_a_url_is_not_said(url: str, said: str) -> None:
    assert masked(url) == said
