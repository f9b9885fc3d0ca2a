"""Commands that use a learned task: predict, export."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.app import USE, JsonOption, StreamOption, TaskArgument, VersionOption, app, show


@app.command(rich_help_panel=USE)
def predict(
    task: TaskArgument,
    files: Annotated[list[Path], typer.Argument(help="Pictures, or .npy and .npz files of inputs.", metavar="FILE")],
    stream: StreamOption,
    version: VersionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Labels and probabilities of files, by one task's network."""
    from apd.report.formats import percent
    from apd.serving import Predictor
    from apd.store import Stream

    predictor = Predictor(Stream.open(stream), task, version)
    answers = [answer for file in files for answer in predictor.file(file)]
    if as_json:
        show(answers)
        return
    for answer in answers:
        typer.echo(f"{answer['input']}: {answer['label']} ({percent(answer['probability'])})")


@app.command(rich_help_panel=USE)
def export(
    task: TaskArgument,
    file: Annotated[Path, typer.Argument(help="The .safetensors file to write.", metavar="FILE")],
    stream: StreamOption,
    version: VersionOption = None,
) -> None:
    """Write one task as the plain PyTorch state dict of the bare network, in safetensors."""
    from apd.serving import export as write
    from apd.store import Stream

    count = write(Stream.open(stream), task, file, version)
    typer.echo(f"wrote {count:,} numbers to {file}")
