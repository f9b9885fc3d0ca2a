"""The built-in networks. Each is called as Class(input_shape, classes, **arguments); its head is its last layer."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from apd.config import require
from apd.state import Shape


class MLP(nn.Sequential):
    """Fully connected layers with ReLU in between, on inputs of any shape."""

    def __init__(self, input_shape: Shape, classes: int, *, hidden: Sequence[int] = (256, 256)) -> None:
        _require_sizes("hidden", hidden)
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        for number, (size, width) in enumerate(pairwise((prod(input_shape), *hidden)), 1):
            layers |= {f"dense{number}": nn.Linear(size, width), f"relu{number}": nn.ReLU()}
        super().__init__(layers | {"head": nn.Linear(hidden[-1], classes)})


class LocalResponseNorm(nn.Module):
    """x_c / (1 + (alpha / window) * sum of x_j^2 over the `window` channels around c)^(3/4), on (N, C, H, W).

    The sum over channels is a 1x1 convolution with a band of ones: it keeps the memory format, and took less than half
    the time of a three-dimensional average pool.
    """

    band: Tensor
    ones: Tensor

    def __init__(self, channels: int, window: int = 9, alpha: float = 1e-3) -> None:
        super().__init__()
        place = torch.arange(channels)
        band = ((place[:, None] - place).abs() <= window // 2).float() * (alpha / window)
        self.register_buffer("band", band.reshape(channels, channels, 1, 1), persistent=False)
        self.register_buffer("ones", torch.ones(channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        normalise: Callable[..., Tensor] = _Normalise.apply
        return normalise(x, self.band, self.ones)


class _Normalise(torch.autograd.Function):
    """y = x * s^(-3/4) with s = 1 + band x^2, and its gradient written out.

        dL/dx  =  g * s^(-3/4)  -  (3/2) x * band (g * x * s^(-7/4))

    band is symmetric. Half the passes over memory that autograd takes for the composed operations.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, band: Tensor, ones: Tensor) -> Tensor:
        root = F.conv2d(x * x, band.to(x.dtype), ones.to(x.dtype)).rsqrt().to(x.dtype)  # in float32 on a GPU
        scale = root * root.sqrt()
        ctx.save_for_backward(x, root, scale, band)
        return x * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        x, root, scale, band = ctx.saved_tensors
        direct = gradients[0] * scale
        around = F.conv2d((direct * x).mul_(root).mul_(root), band.to(direct.dtype))
        return direct.addcmul_(x, around, value=-1.5), None, None


class SamePool(nn.Module):
    """3x3 maximum with stride 2 and output ceil(size / 2): an even size is padded at its end, an odd one at both."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.padding = (height % 2, width % 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H / 2), ceil(W / 2))."""
        return F.max_pool2d(x, 3, stride=2, padding=self.padding, ceil_mode=True)


class LeNet(nn.Module):
    """The paper's network: two 5x5 convolutions with response normalisation and pooling, two dense layers, the head.

    widths: channels of the convolutions, then units of the dense layers.
    """

    def __init__(self, input_shape: Shape, classes: int, *, widths: Sequence[int] = (20, 50, 800, 500)) -> None:
        _require_sizes("widths", widths)
        require(len(widths) == 4, "network.arguments.widths", widths, "four sizes")
        channels, height, width = _picture(input_shape)
        half = ((height + 1) // 2, (width + 1) // 2)
        quarter = ((half[0] + 1) // 2, (half[1] + 1) // 2)
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 5, padding=2)
        self.pool1 = nn.Sequential(LocalResponseNorm(widths[0]), SamePool(height, width))
        self.conv2 = nn.Conv2d(widths[0], widths[1], 5, padding=2)
        self.pool2 = nn.Sequential(LocalResponseNorm(widths[1]), SamePool(*half))
        self.dense1 = nn.Linear(widths[1] * prod(quarter), widths[2])
        self.dense2 = nn.Linear(widths[2], widths[3])
        self.head = nn.Linear(widths[3], classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, height, width) -> (N, classes)."""
        x = self.pool1(F.relu(self.conv1(x)))
        x = self.pool2(F.relu(self.conv2(x))).flatten(1)
        x = F.relu(self.dense2(F.relu(self.dense1(x))))
        logits: Tensor = self.head(x)
        return logits


class ResNet18(nn.Sequential):
    """Eight residual blocks in four stages of doubling width.

    width: channels of the first stage. large_pictures: begin with a 7x7 convolution and a pool that quarter each side,
    for pictures from about 100 pixels; otherwise with a 3x3 convolution at full size.
    """

    def __init__(self, input_shape: Shape, classes: int, *, width: int = 64, large_pictures: bool = False) -> None:
        _require_sizes("width", [width])
        channels, _, _ = _picture(input_shape)
        super().__init__()
        kernel, stride = (7, 2) if large_pictures else (3, 1)
        self.stem = _normalised(channels, width, kernel, stride)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(3, 2, padding=1) if large_pictures else nn.Identity()
        for stage in range(4):
            inputs, outputs = width * 2 ** max(stage - 1, 0), width * 2**stage
            blocks = ResidualBlock(inputs, outputs, 1 if stage == 0 else 2), ResidualBlock(outputs, outputs, 1)
            self.add_module(f"stage{stage + 1}", nn.Sequential(*blocks))
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(width * 8, classes)


class ResidualBlock(nn.Module):
    """relu(skip(x) + conv(relu(conv(x)))), each convolution 3x3 with batch normalisation."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _normalised(inputs, outputs, 3, stride)
        self.second = _normalised(outputs, outputs, 3, 1)
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else _normalised(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, ceil(H / stride), ceil(W / stride))."""
        return F.relu(self.skip(x) + self.second(F.relu(self.first(x))))


def _normalised(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(OrderedDict(conv=convolution, norm=nn.BatchNorm2d(outputs)))


def _picture(input_shape: Shape) -> tuple[int, int, int]:
    expected = "(channels, height, width) for this network; `mlp` takes any shape"
    require(len(input_shape) == 3, "input_shape", input_shape, expected)
    channels, height, width = input_shape
    return channels, height, width


def _require_sizes(argument: str, sizes: Sequence[int]) -> None:
    whole = isinstance(sizes, list | tuple) and all(isinstance(size, int) and size >= 1 for size in sizes)
    require(bool(sizes) and whole, f"network.arguments.{argument}", sizes, "whole numbers >= 1")
