"""What a terminal shows of a transfer."""

import io

import pytest

from flows.cli.transfer import shown


class Terminal(io.StringIO):
    """Standard error of somebody who looks."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_far_a_transfer_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", seen := Terminal())
    with shown("shoes") as progress:
        assert seen.getvalue() == ""
        progress(50, 200)
        progress(200, 200)
    assert "shoes" in seen.getvalue()
    assert "25%" in seen.getvalue()
    assert "100%" in seen.getvalue()


def test_nothing_is_shown_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", seen := io.StringIO())
    with shown("shoes") as progress:
        progress(50, 200)
    assert seen.getvalue() == ""
