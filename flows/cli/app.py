"""The application: its help, how mistakes are shown, how results are printed."""

import contextlib
import json
import platform
import signal
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

StreamOption = Annotated[
    str,
    typer.Option(
        "--stream", "-s", envvar="APD_STREAM", help="Folder or s3://bucket/prefix of the stream.", metavar="URL"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
VersionOption = Annotated[
    int | None,
    typer.Option("--version", "-v", help="Number of a version; default: the newest.", metavar="NUMBER", min=0),
]
TaskArgument = Annotated[str, typer.Argument(help="Name of a learned task.", metavar="TASK")]

START, WORK, LOOK, USE, KEEP, OPERATE = PANELS = ("Start", "Work", "Look", "Use", "Keep", "Operate")
"""Groups of commands, in the order of the help."""

HELP = """Continual learning in production: one model that learns new tasks for years and forgets none.

A stream is one growing model, in a folder or a bucket, with its settings.
Tasks arrive in its inbox and are learned one after another:

    apd init my-stream --shape 3x32x32   a stream for 32 x 32 colour pictures
    export APD_STREAM=my-stream          instead of --stream in every command
    apd pack photos/shoes shoes          pictures, a folder per class: a task
    apd submit shoes                     the task goes into the inbox
    apd run                              learn what waits (or: run --watch)
    apd predict shoes photo.png          which class, how probable

Exit codes: 0, 1 after an error that is named, 2 after a wrong command line,
3 when a task or a consolidation was refused and kept aside,
130 after Ctrl-C, 143 after SIGTERM.
"""

BELOW = ("torch", "ray", "prefect", "scikit-learn", "pyarrow", "s3fs")
"""Packages whose versions decide what can be read, and who can speak with whom."""

REFUSED = 3
"""Exit code when everything worked and a gate kept something out."""

CONTINUE = "run the same command again to continue where it was"


class Terminated(BaseException):
    """SIGTERM came: everything that is under way is ended in order, and nobody on the way may take it for an error."""


@contextlib.contextmanager
def orderly_termination() -> Iterator[None]:
    """Raise Terminated where SIGTERM would end this process at once."""

    def answer(*_: object) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, answer)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """A user's mistake is one line on standard error and exit code 1, our defect a traceback; HELP has the others.

    So is a Prefect server that is away.
    """
    from apd.errors import ApdError
    from flows.console import server_needed

    try:
        with orderly_termination(), server_needed():
            yield
    except ApdError as error:
        raise fail(f"{type(error).__name__}: {error}", 1) from None
    except BrokenPipeError:  # the reader of our output went away, as `head` does: click's business
        raise
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise fail(f"{type(error).__name__}: {place}{error.strerror or error}", 1) from None
    except KeyboardInterrupt:
        raise fail(f"interrupted; {CONTINUE}", 130) from None
    except Terminated:
        raise fail(f"terminated; {CONTINUE}", 143) from None


def fail(message: str, code: int) -> typer.Exit:
    """Say it on standard error; raise what is returned to end with this code."""
    typer.echo(message, err=True)
    return typer.Exit(code)


class Application(TyperGroup):
    """The group of all commands, with our treatment of errors around each."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        with plain_errors():
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands, panel by panel."""
        return sorted(super().list_commands(ctx), key=lambda name: PANELS.index(panel_of(self.commands[name])))


def panel_of(command: Any) -> str:
    """The group that a command is shown in."""
    panel: str = command.rich_help_panel
    return panel


app = typer.Typer(
    cls=Application,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def say_versions(asked: bool) -> None:
    """Print what a report of a fault needs, and nothing else."""
    if asked:
        typer.echo(f"apd {version('apd')}")
        typer.echo(f"{platform.platform()}, Python {platform.python_version()}")
        typer.echo(", ".join(f"{package} {version(package)}" for package in BELOW))
        raise typer.Exit


@app.callback()
def apd(
    versions: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the versions of apd and of what it runs on.", callback=say_versions, is_eager=True
        ),
    ] = False,
) -> None:
    """What holds for the command as a whole."""


def show(value: Any, in_a_line: bool = False) -> None:
    """Print JSON to standard output."""
    typer.echo(json.dumps(value, indent=None if in_a_line else 2))


def print_columns(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> None:
    """Print rows with their columns aligned, those in `right` to the right; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        typer.echo("  ".join(cells).rstrip())
