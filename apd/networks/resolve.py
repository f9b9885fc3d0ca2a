"""From a stream's configuration to its network: a built-in one, or `module:callable` of the user's own."""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from apd.config import StreamConfig
from apd.errors import ConfigError
from apd.networks.architectures import MLP, LeNet, ResNet18
from apd.networks.network import Network
from apd.state import Shape

BUILT_IN: Mapping[str, Callable[..., nn.Module]] = {"mlp": MLP, "lenet": LeNet, "resnet18": ResNet18}


def from_config(config: StreamConfig) -> Network:
    """The network that a stream grows. ConfigError if it cannot be imported or does not take its arguments."""
    name, arguments = config.network.name, config.network.arguments
    make = BUILT_IN[name] if name in BUILT_IN else _import(name)
    try:
        inspect.signature(make).bind(config.input_shape, 2, **arguments)
    except TypeError as error:
        takes = f"{name}{inspect.signature(make)}"
        raise ConfigError(f"network.arguments is {dict(arguments)} but the network is {takes}: {error}") from None
    build = partial(_call, make, config.input_shape, dict(arguments))
    return Network(config.input_shape, build, config.input_dtype)


def _call(make: Callable[..., nn.Module], input_shape: Shape, arguments: dict[str, Any], classes: int) -> nn.Module:
    return make(input_shape, classes, **arguments)


def _import(name: str) -> Callable[..., nn.Module]:
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"network {name!r}: no module {error.name!r}, looked in {', '.join(place or '.' for place in sys.path)}; "
            "install it, or add the folder that holds it to PYTHONPATH"
        ) from None
    except (ImportError, SyntaxError, TypeError, ValueError) as error:
        raise ConfigError(f"network {name!r}: importing module {module_name!r} failed: {error}") from error
    found = getattr(module, attribute, None)
    if not callable(found):
        what = f"has no {attribute!r}" if found is None else f"has {attribute!r}, a {type(found).__name__}"
        raise ConfigError(f"network {name!r}: module {module_name!r} {what}; expected a callable(input_shape, classes)")
    return found  # type: ignore[no-any-return]
