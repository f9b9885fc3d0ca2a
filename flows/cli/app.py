"""The application: its settings, how mistakes are shown, how results are printed."""

import contextlib
import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

StreamOption = Annotated[
    str,
    typer.Option(
        "--stream", "-s", envvar="APD_STREAM", help="Folder or s3://bucket/prefix of the stream.", metavar="URL"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
VersionOption = Annotated[int | None, typer.Option("--version", "-v", help="Number of a version; default: the newest.")]

HELP = """Continual learning in production: one model that learns new tasks for years and forgets none.

A stream is one growing model, in a folder or a bucket. Tasks arrive in its inbox and are learned one after another:

    apd init my-stream --shape 3x32x32

    export APD_STREAM=my-stream

    apd pack photos/shoes shoes

    apd submit shoes

    apd run

    apd predict shoes photo.png
"""


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """A user's mistake is one line on standard error and exit code 1, an interruption 130, our defect a traceback."""
    from apd.errors import ApdError

    try:
        yield
    except ApdError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("interrupted; run the same command again to continue where it was", err=True)
        raise typer.Exit(130) from None


class Application(TyperGroup):
    """The group of all commands, with our treatment of errors around each."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        with plain_errors():
            return super().invoke(ctx)


app = typer.Typer(
    cls=Application,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show(value: Any) -> None:
    """Print JSON to standard output."""
    typer.echo(json.dumps(value, indent=2))
