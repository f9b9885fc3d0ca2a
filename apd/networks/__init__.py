"""What a stream trains: any `nn.Module`, as a pure function of named tensors."""

from apd.networks.network import Network, of_module
from apd.networks.resolve import from_config

__all__ = ["Network", "from_config", "of_module"]
