"""Commands around Prefect and Ray: up, down, prefect setup."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.app import OPERATE, StreamOption, app

if TYPE_CHECKING:
    from flows.operations.services import Installation

HomeOption = Annotated[
    Path, typer.Option("--home", envvar="APD_HOME", help="Folder of the installation: its settings, logs and data.")
]
PoolOption = Annotated[str, typer.Option("--pool", envvar="APD_WORK_POOL", help="Work pool of the deployments.")]
NotifyOption = Annotated[
    str | None, typer.Option("--notify", help="URL that alerts are posted to, as JSON with subject and body.")
]
HOME = Path("~/.apd")

server = typer.Typer(no_args_is_help=True, help="Set up a Prefect server.")
app.add_typer(server, name="prefect", rich_help_panel=OPERATE)


@app.command(rich_help_panel=OPERATE)
def up(
    home: HomeOption = HOME,
    stream: Annotated[
        str | None,
        typer.Option("--stream", "-s", envvar="APD_STREAM", help="URL of the stream.", show_default="in --home"),
    ] = None,
    pool: PoolOption = "apd",
    s3: Annotated[bool, typer.Option("--s3", help="Start a local S3 server too, and keep the stream in it.")] = False,
    database: Annotated[
        str | None,
        typer.Option(help="PostgreSQL for Prefect, postgresql://user:password@host/name.", show_default="SQLite"),
    ] = None,
    notify: NotifyOption = None,
) -> None:
    """Start Prefect's server and worker, Ray with its dashboard, all deployments.

    What runs already is left alone; of the options, --notify alone can be given to an installation that is up.
    """
    from flows.operations import local

    def prepare(installation: "Installation", deployed: bool) -> None:
        os.environ.update(installation.environment)
        from flows.operations.setup import set_alerts, setup

        if not deployed:
            setup(installation.stream, installation.pool, notify, replace=True)  # its own server works for it alone
        elif notify:
            set_alerts(notify)

    typer.echo("starting Prefect's server and worker and Ray, where they do not run yet ...", err=True)
    installation = local.up(home.expanduser().absolute(), prepare, stream=stream, pool=pool, s3=s3, database=database)
    for name, url in installation.urls.items():
        typer.echo(f"{name:14} {url}")
    typer.echo(f"{'stream':14} {installation.stream}\n{'logs':14} {installation.home}/logs\n\nfor a shell:")
    for name, value in installation.client_environment.items():
        typer.echo(f"export {name}={value}")
    if not local.has_stream(installation):
        typer.echo(f"\nno stream is there yet; for example: apd init {installation.stream} --shape 3x32x32")


@app.command(rich_help_panel=OPERATE)
def down(home: HomeOption = HOME) -> None:
    """End what `up` has started, and nothing else; streams, settings and logs stay."""
    from flows.operations import local

    ended = local.down(home.expanduser().absolute())
    typer.echo(f"ended: {', '.join(ended)}" if ended else "nothing was running")


@server.command()
def setup(
    stream: StreamOption,
    pool: PoolOption = "apd",
    notify: NotifyOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the deployments from another stream or pool they work on.")
    ] = False,
) -> None:
    """Make or update the work pool, all deployments of prefect.yaml and the automations on the configured server.

    A server has one set of deployments, for one stream and pool.
    """
    from apd.store import normal_url
    from flows.operations.setup import setup as make

    outcome = make(normal_url(stream), pool, notify, replace)
    typer.echo(f"work pool     {outcome.pool}")
    typer.echo(f"deployments   {', '.join(outcome.deployments)}")
    typer.echo(f"automations   {', '.join(outcome.automations)}")
