"""The apd command, run in this process."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from flows.cli import app


def apd(*arguments: str | Path, code: int = 0, answer: str | None = None) -> Result:
    """Run the command and expect this exit code; no failure of ours may come out of it."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=answer)
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def mistake(*arguments: str | Path) -> str:
    """What the command says of a mistake: one line on standard error, nothing on standard output, exit code 1."""
    result = apd(*arguments, code=1)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr


def answer_of(*arguments: str | Path) -> Any:
    """What the command prints with --json."""
    return json.loads(apd(*arguments, "--json").stdout)
