"""Commands around one task: pack, submit, predict, export; and init, which makes the stream they go to."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.app import JsonOption, StreamOption, VersionOption, app, show


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """`["learning.epochs=5"]` -> {"learning": {"epochs": 5}}; values are JSON where they parse, else strings."""
    nested: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r} should read name=value, for example learning.epochs=5")
        place = nested
        *groups, last = name.split(".")
        for group in groups:
            place = place.setdefault(group, {})
        try:
            place[last] = json.loads(text)
        except json.JSONDecodeError:
            place[last] = text
    return nested


@app.command(rich_help_panel="Start")
def init(
    url: Annotated[str, typer.Argument(help="New folder or s3://bucket/prefix.", metavar="URL")],
    shape: Annotated[str, typer.Option(help="Shape of one input, channels first: 1x28x28, 3x32x32, 561.")],
    dtype: Annotated[str, typer.Option(help="uint8 (divided by 255) or float32 (taken as it is).")] = "uint8",
    network: Annotated[str, typer.Option(help="mlp, lenet, resnet18, or module:callable of your own.")] = "lenet",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Any other setting, for example learning.epochs=5. Repeatable.", metavar="NAME=VALUE"
        ),
    ] = None,
) -> None:
    """Create a stream; its settings are stored with it and never given again."""
    from apd.config import StreamConfig, from_json
    from apd.store import Stream

    values = parse_settings(settings or [])
    values["network"] = {"name": network} | values.get("network", {})
    try:
        values["input_shape"] = [int(size) for size in shape.split("x")]
    except ValueError:
        raise typer.BadParameter(f"--shape {shape!r} should read like 3x32x32") from None
    stream = Stream.create(url, from_json(StreamConfig, values | {"input_dtype": dtype}))
    typer.echo(f"created stream {stream.name} in {stream.url}")


@app.command(rich_help_panel="Start")
def pack(
    source: Annotated[
        str,
        typer.Argument(
            help="Image folder (a sub-folder per class), .parquet, .npz, or module:callable giving a Dataset."
        ),
    ],
    name: Annotated[str, typer.Argument(help="Name of the task: lowercase letters, digits, dots and dashes.")],
    stream: StreamOption,
    into: Annotated[Path, typer.Option("--into", help="Where to make the task's folder.")] = Path(),
) -> None:
    """Turn labelled data into a task folder that fits the stream."""
    from apd.data import pack as pack_source
    from apd.store import Stream

    info = pack_source(source, into / name, name, Stream.open(stream).config)
    typer.echo(f"packed {name}: {len(info.classes)} classes, in {into / name}")


@app.command(rich_help_panel="Start")
def submit(
    folder: Annotated[Path, typer.Argument(help="A task folder, as `apd pack` makes it.")], stream: StreamOption
) -> None:
    """Put a task folder into the stream's inbox."""
    from apd.store import Stream

    opened = Stream.open(stream)
    opened.inbox.submit(folder)
    typer.echo(f"submitted {folder.name} to {opened.url}/inbox")


@app.command(rich_help_panel="Use")
def predict(
    task: Annotated[str, typer.Argument(help="Name of a learned task.")],
    files: Annotated[list[Path], typer.Argument(help="Images, or .npy/.npz arrays of inputs.")],
    stream: StreamOption,
    version: VersionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Labels and probabilities of files, by one task's network."""
    from apd.serving import Predictor
    from apd.store import Stream

    predictor = Predictor(Stream.open(stream), task, version)
    answers = [answer for file in files for answer in predictor.file(file)]
    if as_json:
        show(answers)
        return
    for answer in answers:
        typer.echo(f"{answer['input']}: {answer['label']} ({answer['probability']:.1%})")


@app.command(rich_help_panel="Use")
def export(
    task: Annotated[str, typer.Argument(help="Name of a learned task.")],
    file: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    stream: StreamOption,
    version: VersionOption = None,
) -> None:
    """Write one task as the plain PyTorch state dict of the bare network, in safetensors."""
    from apd.serving import export as write
    from apd.store import Stream

    count = write(Stream.open(stream), task, file, version)
    typer.echo(f"wrote {count:,} numbers to {file}")
