"""Settings of a new stream, from a file and from the command line."""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer


def gathered(
    file: Path | None, shape: str | None, dtype: str | None, network: str | None, pairs: Sequence[str]
) -> dict[str, Any]:
    """A stream's settings as JSON values: those of the file, overruled by options, overruled by NAME=VALUE pairs."""
    options: dict[str, Any] = {}
    if shape is not None:
        options["input_shape"] = sizes(shape)
    if dtype is not None:
        options["input_dtype"] = dtype
    if network is not None:
        options["network"] = {"name": network}
    values = functools.reduce(merged, map(setting, pairs), merged(content(file), options))
    if "input_shape" not in values:
        raise typer.BadParameter("the shape of an input is missing: give --shape 3x32x32, or input_shape in --config")
    return values


def sizes(shape: str) -> list[int]:
    """`3x32x32` -> [3, 32, 32]."""
    try:
        return [int(size) for size in shape.split("x")]
    except ValueError:
        raise typer.BadParameter(f"--shape {shape!r} should read like 3x32x32") from None


def setting(pair: str) -> dict[str, Any]:
    """`learning.epochs=5` -> {"learning": {"epochs": 5}}; a value is JSON where it parses, else a string."""
    name, equals, text = pair.partition("=")
    if not equals:
        raise typer.BadParameter(f"--set {pair!r} should read NAME=VALUE, for example learning.epochs=5")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    return functools.reduce(lambda inner, part: {part: inner}, reversed(name.split(".")), value)


def merged(values: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Both, name by name; where both have a value that is no group of settings, that of `others`."""
    groups = {
        name: merged(values[name], other)
        for name, other in others.items()
        if isinstance(other, dict) and isinstance(values.get(name), dict)
    }
    return {**values, **others, **groups}


def content(file: Path | None) -> dict[str, Any]:
    """What a file of settings holds, nothing without one. Raises ConfigError unless it is one JSON object."""
    from apd.errors import ConfigError

    if file is None:
        return {}
    try:
        values = json.loads(file.read_text())
    except ValueError as error:
        raise ConfigError(f"{file} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file} holds a {type(values).__name__} but must hold one JSON object of settings")
    return values
