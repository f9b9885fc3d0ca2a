"""A network of the user's own as a stream's configuration names it, so that other processes can make it too."""

from torch import nn

from apd.config import NetworkConfig
from apd.errors import ConfigError
from apd.importing import import_callable


def config_of(network: object, caller: str) -> NetworkConfig:
    """The configuration of the network that `network(classes)` makes, or the one given.

    caller: `module:callable` that hands the name of `network` to `made_by_name`. An object without a name of its own,
    such as a functools.partial, is called `module:class()`, which can never be imported: better than finding its class
    instead. ConfigError for what can make no network.
    """
    if isinstance(network, NetworkConfig):
        return network
    if isinstance(network, nn.Module) or not callable(network):  # a module is called with inputs
        found = f"a {type(network).__name__}" if isinstance(network, nn.Module) else repr(network)
        raise ConfigError(
            f"network is {found} but must be a callable that makes one for a number of classes, such as its "
            "class, or for a built-in one a configuration, such as NetworkConfig('lenet')"
        )
    name = getattr(network, "__qualname__", f"{type(network).__qualname__}()")
    return NetworkConfig(caller, {"build": f"{network.__module__}:{name}"})


def made_by_name(name: str, classes: int) -> nn.Module:
    """What the callable of that name makes for a number of classes; ConfigError when it cannot."""
    try:
        module = import_callable("network.arguments.build", name)(classes)
        if not isinstance(module, nn.Module):
            raise ConfigError(f"it gave a {type(module).__name__} but must give a torch.nn.Module")
    except (ConfigError, TypeError) as error:
        raise ConfigError(
            f"the stream's network cannot be made by {name!r}: {error}; hand over what the learner was given: "
            "Learner.load(url, network=...)"
        ) from error
    return module
