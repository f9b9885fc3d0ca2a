"""Commands with which a stream begins and tasks come into it: init, pack, submit, demo."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.app import START, StreamOption, app
from flows.cli.settings import gathered
from flows.cli.transfer import shown

if TYPE_CHECKING:
    from apd.store import Stream


@app.command(rich_help_panel=START)
def init(
    url: Annotated[str, typer.Argument(help="New folder or s3://bucket/prefix.", metavar="URL")],
    shape: Annotated[
        str | None,
        typer.Option(help="Shape of one input, channels first: 1x28x28, 3x32x32, 561.", metavar="SIZES"),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="uint8 (the default; divided by 255) or float32 (taken as it is).", metavar="TYPE"),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(help="mlp, lenet (the default), resnet18, or module:callable of your own.", metavar="NAME"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="JSON file of settings, as `apd status --json` shows them; the other options overrule it.",
            metavar="FILE",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Any other setting, for example learning.epochs=5. Repeatable.", metavar="NAME=VALUE"
        ),
    ] = None,
) -> None:
    """Create a stream; its settings are stored with it and never given again."""
    values = gathered(config, shape, dtype, network, settings or [])
    from apd.config import StreamConfig, from_json
    from apd.networks import from_config
    from apd.store import Stream

    checked = from_json(StreamConfig, values)
    from_config(checked).check()
    stream = Stream.create(url, checked)
    typer.echo(f"created stream {stream.name} in {stream.url}")


@app.command(rich_help_panel=START)
def pack(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder of pictures (a sub-folder per class), .parquet, .npz, a folder of .npy, or module:callable "
            "giving a torch Dataset.",
            metavar="SOURCE",
        ),
    ],
    name: Annotated[str, typer.Argument(help="Name of the task: a-z, 0-9, '.', '_' and '-'.", metavar="NAME")],
    stream: StreamOption,
    into: Annotated[Path, typer.Option("--into", help="Where the folder NAME is made.", metavar="FOLDER")] = Path(),
    classes: Annotated[
        str | None, typer.Option(help="Names of the classes in label order, where SOURCE has none.", metavar="A,B,...")
    ] = None,
    picture: Annotated[
        str | None, typer.Option(help="Column of the pictures, where a .parquet has several.", metavar="COLUMN")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Column of the labels, where a .parquet has several.", metavar="COLUMN")
    ] = None,
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="Arrays are (N, height, width, channels).")
    ] = False,
) -> None:
    """Turn labelled data into a task folder that fits the stream."""
    from apd.data import LocalFolder, advice
    from apd.data import pack as pack_source
    from apd.store import Stream

    info = pack_source(
        source,
        into / name,
        name,
        Stream.open(stream).config,
        classes=classes.split(",") if classes else None,
        channels_last=channels_last,
        picture=picture,
        label=label,
    )
    typer.echo(f"packed {name}: {len(info.classes)} classes, {', '.join(info.files)}; in {into / name}")
    if odd := advice(LocalFolder(into / name), info):
        typer.echo(f"{name}: {odd}", err=True)


@app.command(rich_help_panel=START)
def submit(
    folders: Annotated[list[Path], typer.Argument(help="Task folders, as `apd pack` makes them.", metavar="FOLDER")],
    stream: StreamOption,
) -> None:
    """Put task folders into the stream's inbox; they are learned in this order; at once with PREFECT_API_URL."""
    from apd.store import Stream

    opened = Stream.open(stream)
    for folder in folders:
        refuse_early(opened, folder)
    submitted = []
    for folder in folders:
        with shown(folder.absolute().name) as progress:
            submitted.append(opened.inbox.submit(folder, progress))
        typer.echo(f"submitted {submitted[-1]} to {opened.url}/inbox")
    if os.environ.get("PREFECT_API_URL"):
        from flows.events import announce_arrival

        told = announce_arrival(opened.url, submitted)
        typer.echo("announced to Prefect" if told else "Prefect does not answer: the next scheduled run will find them")


@app.command(rich_help_panel=START)
def withdraw(
    folder: Annotated[str, typer.Argument(help="Name of a folder, as `apd tasks` lists it.", metavar="FOLDER")],
    stream: StreamOption,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a folder from the inbox before it is a task, or one that was rejected; `apd forget` removes tasks."""
    from apd.store import Stream

    inbox = Stream.open(stream).inbox
    if not yes:
        typer.confirm(f"Remove {folder} for good, in the inbox and among the rejected?", abort=True)
    for place in inbox.withdraw(folder):
        typer.echo(f"removed {place}")


def refuse_early(stream: "Stream", folder: Path) -> None:
    """Raise DataError or TaskRejected for what can be told without reading the data; `ingest` reads every row."""
    from apd.data import LocalFolder, check_fits, read_info
    from apd.data.format import METADATA
    from apd.errors import DataError, TaskRejected

    if not (folder / METADATA).is_file():
        raise DataError(f"{folder} is no task folder, it has no {METADATA}; `apd pack` makes one")
    try:
        info = read_info(LocalFolder(folder))
        check_fits(info, stream.config)
        stream.inbox.require_ahead(info.name)
        if stream.inbox.knows(info.name):
            raise TaskRejected(f"a task named {info.name!r} has arrived in {stream.url} already; choose another name")
    except TaskRejected as error:
        raise TaskRejected(f"{folder}: {error}") from None


@app.command(rich_help_panel=START)
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder for the stream; made when absent.", metavar="FOLDER")] = Path(
        "apd-demo"
    ),
) -> None:
    """Learn 16 tasks of real handwritten digits, one arrival after another, and compare with the usual ways."""
    from flows import console

    console.prepare()
    from flows.demo import demo as start

    start(folder)
