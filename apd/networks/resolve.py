"""From a stream's configuration to its network: a built-in one, or `module:callable` of the user's own."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from apd.config import StreamConfig
from apd.errors import ConfigError
from apd.importing import import_callable
from apd.networks.architectures import MLP, LeNet, ResNet18
from apd.networks.network import Network
from apd.state import Shape

BUILT_IN: Mapping[str, Callable[..., nn.Module]] = {"mlp": MLP, "lenet": LeNet, "resnet18": ResNet18}


def from_config(config: StreamConfig) -> Network:
    """The network that a stream grows. ConfigError if it cannot be imported or does not take its arguments."""
    name, arguments = config.network.name, config.network.arguments
    make = BUILT_IN[name] if name in BUILT_IN else import_callable("network", name)
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"network {name!r} cannot be asked what it takes ({error}); name a class or function that is called with "
            "(input_shape, classes, **arguments)"
        ) from None
    try:
        signature.bind(config.input_shape, 2, **arguments)
    except TypeError as error:
        takes = f"{name}{signature}"
        raise ConfigError(f"network.arguments is {dict(arguments)} but the network is {takes}: {error}") from None
    build = partial(_call, make, config.input_shape, dict(arguments))
    return Network(config.input_shape, build, config.input_dtype)


def _call(make: Callable[..., nn.Module], input_shape: Shape, arguments: dict[str, Any], classes: int) -> nn.Module:
    return make(input_shape, classes, **arguments)
