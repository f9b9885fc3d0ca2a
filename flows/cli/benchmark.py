"""The command that compares methods: benchmark."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from flows.cli.app import WORK, JsonOption, app, show
from flows.cli.settings import merged, setting

if TYPE_CHECKING:
    from apd.benchmark import Cell
    from apd.data.official.orders import Order
    from flows.forms import BenchmarkName


@app.command(rich_help_panel=WORK)
def benchmark(
    name: Annotated[
        str,
        typer.Argument(
            help="digits, omniglot-rotation, cifar100-split, cifar100-superclass, permuted-mnist, fashion-mnist-split "
            "or five-datasets.",
            metavar="NAME",
        ),
    ],
    data: Annotated[
        Path | None, typer.Option(help="Folder with the official files; digits needs none.", metavar="FOLDER")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="apd-fixed, apd1, apd2, stl, mtl, finetuning, ewc; at a budget of its own: apd2@0.005. Default: all.",
            metavar="METHOD,...",
        ),
    ] = None,
    orders: Annotated[str, typer.Option(help="Orders of arrival, A to E.", metavar="ORDER,...")] = "A,B,C,D,E",
    seeds: Annotated[str, typer.Option(help="Several give deviations.", metavar="NUMBER,...")] = "0",
    tasks: Annotated[int | None, typer.Option(help="Only the first tasks.", metavar="NUMBER", min=1)] = None,
    legacy_layout: Annotated[
        bool, typer.Option("--legacy-layout", help="CIFAR-100 with scrambled pictures, as in published tables.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting, for example learning.epochs=5. Repeatable.", metavar="NAME=VALUE"),
    ] = None,
    parallel: Annotated[
        int | None,
        typer.Option(help="Cells at a time. Default: as Ray has room.", metavar="NUMBER", min=1),
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="Folder or s3://... of the results. Default: apd-NAME.", metavar="URL")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare APD with the usual ways on a public stream of tasks; stopped, it goes on where it was."""
    from apd.benchmark import METHODS, cells, protocol_of
    from apd.config import ResourceConfig, from_json
    from flows import console

    given = functools.reduce(merged, map(setting, settings or []), _options(tasks, legacy_layout))
    resources = from_json(ResourceConfig, given.pop("resources", {}), "resources.")
    chosen = methods.split(",") if methods else list(METHODS)
    protocol_of(name, given)
    plan = cells(chosen, orders.split(","), _numbers(seeds))
    console.prepare()
    from flows.benchmark import benchmark as flow

    place, folder = out or f"apd-{name}", None if data is None else str(data.absolute())
    known, arrivals = cast("BenchmarkName", name), cast("list[Order]", orders.split(","))
    files = flow(known, place, folder, chosen, arrivals, _numbers(seeds), given, resources, parallel)
    _show(place, plan, files, as_json)


def _options(tasks: int | None, legacy_layout: bool) -> dict[str, Any]:
    """Settings that have an option of their own, where they are given."""
    return ({} if tasks is None else {"tasks": tasks}) | ({"legacy_layout": True} if legacy_layout else {})


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--seeds {text!r} should read like 0,1,2") from None


def _show(place: str, plan: "Sequence[Cell]", files: Sequence[str], as_json: bool) -> None:
    """The table, or its figures as JSON, and where everything is."""
    import dataclasses

    from apd.benchmark import summarise
    from apd.store.results import Results
    from flows.cells import finished

    results = Results(place)
    if as_json:
        summaries = summarise(finished(results, plan))
        show({"files": list(files), "methods": [dataclasses.asdict(summary) for summary in summaries]})
    else:
        typer.echo(results.read("table.md").decode() + "\n" + "\n".join(files))
