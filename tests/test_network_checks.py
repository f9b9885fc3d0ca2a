"""What `Network.check` refuses before a stream is made for it, and what it leaves alone."""

import re

import pytest
import torch
import toys
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from apd.config import NetworkConfig, StreamConfig
from apd.errors import ConfigError
from apd.learner import Learner
from apd.networks import from_config, of_module

SHAPE = (6,)


class Plain(nn.Module):
    """Two layers, with something between them."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body, self.between, self.head = nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, classes)

    def forward(self, inputs: Tensor) -> object:
        return self.head(self.between(self.body(inputs)))


class Pair(Plain):
    def forward(self, inputs: Tensor) -> object:
        return super().forward(inputs), inputs


class OneByOne(Plain):
    def forward(self, inputs: Tensor) -> object:
        return self.head(self.body(inputs)).flatten()


class OfLater(Plain):
    """Fails in training alone."""

    def forward(self, inputs: Tensor) -> object:
        if self.training:
            raise ValueError("not ready")
        return super().forward(inputs)


class Frugal(Plain):
    """Computes a layer once more when its gradient is taken."""

    def forward(self, inputs: Tensor) -> object:
        return self.head(checkpoint(lambda x: self.body(x).relu(), inputs, use_reentrant=False))


class Detached(Plain):
    def forward(self, inputs: Tensor) -> object:
        return self.head(self.body(inputs)).detach()


class Words(Plain):
    """With a gradient of few non-zeros."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.words = nn.Embedding(9, 6, sparse=True)

    def forward(self, inputs: Tensor) -> object:
        return super().forward(self.words(inputs.long()).mean(1))


class OfOthers(Plain):
    """What it says of one input depends on the others."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.between = nn.BatchNorm1d(5, track_running_stats=False)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (Pair, "gives a tuple for inputs of two classes, expected a tensor (2, 2)"),
        (OneByOne, "gives (4,) for inputs of two classes, expected a tensor (2, 2)"),
        (
            OfLater,
            "fails in a training step on inputs of (6,) (torch.utils.checkpoint cannot be used): ValueError: not",
        ),
        (Frugal, "fails in a training step on inputs of (6,) (torch.utils.checkpoint cannot be used): RuntimeError"),
        (Detached, "fails in a training step on inputs of (6,)"),
        (
            Words,
            "gradient of parameter 'words.weight' is torch.sparse_coo but must be dense; make an nn.Embedding without",
        ),
        (OfOthers, "fails on a single input of (6,) (batch normalisation needs running statistics): ValueError"),
        (
            lambda classes: nn.Sequential(nn.Linear(7, 5), nn.Linear(5, classes)),
            "fails on inputs of (6,): RuntimeError",
        ),
    ],
)
def test_what_could_not_be_trained_or_asked_is_refused_at_once(build, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        of_module(build, SHAPE).check()
    with pytest.raises(ConfigError, match=re.escape(message)):
        Learner(build, SHAPE)


@pytest.mark.parametrize("name", ["mlp", "lenet", "resnet18"])
def test_the_built_in_networks_pass(name):
    arguments = {"width": 4} if name == "resnet18" else {}
    from_config(StreamConfig((1, 8, 8), "uint8", NetworkConfig(name, arguments))).check()


def test_a_check_draws_no_random_number_that_others_would_see():
    before = torch.get_rng_state()
    toys.normalised_network().check()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_callable_that_does_not_tell_what_it_takes_is_refused() -> None:
    config = StreamConfig(SHAPE, "float32", NetworkConfig("builtins:int"))
    with pytest.raises(ConfigError, match=r"network 'builtins:int' cannot be asked what it takes .*; name a class"):
        from_config(config)
