"""A network as data: its tensors by name, which of them are shared, and logits as a function of tensors and inputs.

    spec(classes)                        which tensors are shared through sigma, private to a task, or its head
    initial(classes, seed)               first values of all of them
    forward(tensors, inputs, training)   logits

Nothing is guessed from names or layer types: the head is what changes its shape when the number of classes does, and a
parameter of two or more dimensions that does not is shared. Tied parameters are listed once, under their first name.
A parameter that requires no gradient is a constant, kept as a buffer is.

Several threads may call one network, such as one that learns and others that ask: they take turns.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from apd.config import Dtype
from apd.errors import ConfigError, ShapeMismatch, StateError
from apd.state import Shape, Spec, Tensors

Forward = Callable[[Tensors, Tensor, bool], Tensor]
"""(tensors, inputs, training) -> logits."""


@dataclass(frozen=True, slots=True, eq=False)
class _Skeleton:
    """A module whose parameters and persistent buffers have no storage: they come with each call."""

    module: nn.Module
    tensors: Tensors
    """Those parameters and buffers, on the meta device."""
    trainable: tuple[str, ...]
    """Names of the parameters that are not frozen."""
    constants: Tensors
    """Buffers that are no part of a state dict, on the device that the skeleton is for."""
    ties: Mapping[str, str]
    """Further names that the module's state dict has for one of those tensors, and the name it has there."""
    lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    """Held while the module has the tensors of one call; a gradient needs the tensors alone."""

    def call(self, tensors: Tensors, inputs: Tensor, training: bool) -> Tensor:
        constants = {name: buffer.clone() for name, buffer in self.constants.items()}
        with self.lock:
            if self.module.training != training:
                self.module.train(training)
            logits: Tensor = torch.func.functional_call(self.module, constants | dict(tensors), (inputs,))
        return logits


@dataclass(frozen=True, eq=False)
class Network:
    """Any `nn.Module` that takes a batch of inputs and gives logits (N, classes)."""

    input_shape: Shape
    """Shape of one input, without the batch dimension."""
    build: Callable[[int], nn.Module]
    """Makes the module for a number of classes; its random numbers come from torch's default generator."""
    input_dtype: Dtype = "uint8"
    """uint8 inputs are divided by 255 before the module sees them."""
    _skeletons: dict[tuple[int, torch.device], _Skeleton] = field(default_factory=dict, init=False, repr=False)

    def __reduce__(self) -> tuple[object, ...]:
        """Copies, in other processes too, make skeletons of their own: a lock goes nowhere."""
        return Network, (self.input_shape, self.build, self.input_dtype)

    def spec(self, classes: int) -> Spec:
        """Sort the tensors of the network with this many classes; ConfigError if it has no head or nothing to share."""
        head = self._head(classes)
        parameters = self.trainable(classes)
        shared: dict[str, Shape] = {}
        private: dict[str, tuple[Shape, str]] = {}
        for name, tensor in self._skeleton(classes).tensors.items():
            if name in parameters and tensor.ndim >= 2 and name not in head:
                shared[name] = _float32(name, tensor)
            elif name not in head:
                private[name] = (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        if not shared:
            raise ConfigError(
                "the network has no trained parameter of two or more dimensions besides its head: nothing to share"
            )
        tensors = self._skeleton(classes).tensors
        return Spec(shared, private, {name: tuple(tensors[name].shape) for name in head})

    def trainable(self, classes: int) -> tuple[str, ...]:
        """Names of the parameters that an optimiser may move; the other tensors are buffers and constants."""
        return self._skeleton(classes).trainable

    def own(self, classes: int) -> frozenset[str]:
        """What every task has of its own where all else is one body: its head, and statistics such as BatchNorm's."""
        skeleton = self._skeleton(classes)
        parameters = {name for name, _ in skeleton.module.named_parameters()}
        return frozenset(self._head(classes)) | (skeleton.tensors.keys() - parameters)

    def initial(self, classes: int, seed: int) -> dict[str, Tensor]:
        """First values of all parameters and persistent buffers, on the CPU; the same for the same arguments.

        In the order of their indices, whatever the module's memory format: the fused Adam reads memory in order.
        """
        module, order = _built(self.build, classes, seed), torch.contiguous_format
        return {name: tensor.detach().clone(memory_format=order) for name, tensor in _persistent(module).items()}

    def forward(self, tensors: Tensors, inputs: Tensor, training: bool) -> Tensor:
        """Logits (N, classes) of raw inputs (N, *input_shape), on the device that inputs and tensors are on.

        tensors: all that `initial` lists, no more; their shapes tell the number of classes. While training, buffers
        such as BatchNorm's are updated in place in the tensors given; nothing else changes. Dropout draws from torch's
        default generator.
        """
        return self.bound(tensors, inputs.device)(tensors, inputs, training)

    def bound(self, tensors: Tensors, device: torch.device) -> Forward:
        """`forward` for tensors of these names and shapes on this device, which it does not check again."""
        skeleton = self._skeleton(self.classes_of(tensors), device)

        def forward(tensors: Tensors, inputs: Tensor, training: bool) -> Tensor:
            scaled = inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs
            return skeleton.call(tensors, scaled, training)

        return forward

    def state_dict(self, tensors: Tensors) -> dict[str, Tensor]:
        """What `load_state_dict` of the module itself takes: the tensors, tied ones under each of their names."""
        ties = self._skeleton(self.classes_of(tensors)).ties
        return {**tensors, **{name: tensors[first] for name, first in ties.items()}}

    def check(self) -> None:
        """Have the network answer two empty inputs and a single one, and take a gradient in training.

        ConfigError says why no stream can grow it. The state of torch's default generator is left as it was.
        """
        dtype, shape = getattr(torch, self.input_dtype), tuple(self.input_shape)
        try:
            inputs = torch.zeros((2, *shape), dtype=dtype)
        except (RuntimeError, TypeError) as error:  # TypeError: a size that is no 64-bit number
            first = str(error).splitlines()[0]
            raise ConfigError(
                f"input_shape is {shape}, and no two such inputs can be held in memory: {first}"
            ) from None
        with torch.random.fork_rng(devices=[]):
            with _named(f"on inputs of {shape}"):
                self.spec(2)
                tensors = self.initial(2, seed=0)
                _require_logits(self.forward(tensors, inputs, training=False), 2)
            with _named(f"on a single input of {shape}", "batch normalisation needs running statistics"):
                _require_logits(self.forward(tensors, inputs[:1], training=False), 1)
            with _named(f"in a training step on inputs of {shape}", "torch.utils.checkpoint cannot be used"):
                self._check_step(tensors, inputs)

    def _check_step(self, tensors: Tensors, inputs: Tensor) -> None:
        leaves = {name: tensors[name].requires_grad_() for name in self.trainable(2)}
        logits = self.forward(tensors, inputs, training=True)
        _require_logits(logits, 2)
        loss = functional.cross_entropy(logits.float(), torch.tensor([0, 1]))
        gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
        for name, gradient in zip(leaves, gradients, strict=True):
            if gradient.layout != torch.strided:
                raise ConfigError(
                    f"the gradient of parameter {name!r} is {gradient.layout} but must be dense; make an nn.Embedding "
                    "without sparse=True"
                )

    def classes_of(self, tensors: Tensors) -> int:
        """The number of classes that these tensors are made for.

        StateError if one is missing or none of the network's, ShapeMismatch if one has another shape.
        """
        two, three = self._skeleton(2).tensors, self._skeleton(3).tensors
        odd = sorted(set(two) ^ set(tensors))
        if odd:
            raise StateError(f"{odd[0]!r} is {'missing' if odd[0] in two else 'not a tensor of the network'}")
        classes = 2
        for name in self._head(2):
            for size, smallest, next_size in zip(tensors[name].shape, two[name].shape, three[name].shape, strict=False):
                if next_size != smallest:
                    classes = 2 + (size - smallest) // (next_size - smallest)
        self._check_shapes(tensors, max(classes, 1))
        return classes

    def _check_shapes(self, tensors: Tensors, classes: int) -> None:
        for name, expected in self._skeleton(classes).tensors.items():
            if tensors[name].shape != expected.shape:
                raise ShapeMismatch(
                    f"{name!r} is {tuple(tensors[name].shape)} but the network with {classes} classes expects "
                    f"{tuple(expected.shape)}; was the network changed after the stream was created?"
                )

    def _head(self, classes: int) -> tuple[str, ...]:
        """Names of the tensors whose shape changes with the number of classes."""
        here, more = self._skeleton(classes).tensors, self._skeleton(classes + 1).tensors
        odd = sorted(set(here) ^ set(more))
        if odd:
            raise ConfigError(
                f"the network has a tensor {odd[0]!r} with only one of {classes} and {classes + 1} classes"
            )
        head = tuple(name for name, tensor in here.items() if tensor.shape != more[name].shape)
        if not head:
            raise ConfigError("no tensor of the network changes its shape with the number of classes: it has no head")
        return head

    def _skeleton(self, classes: int, device: torch.device | None = None) -> _Skeleton:
        key = (classes, device or torch.device("cpu"))
        if key not in self._skeletons:
            self._skeletons.setdefault(key, _hollow(_built(self.build, classes, seed=0), key[1]))
        return self._skeletons[key]


def of_module(build: Callable[[int], nn.Module], input_shape: Shape, input_dtype: Dtype = "float32") -> Network:
    """The network of your own module: `build(classes)` makes one from (N, *input_shape) to logits (N, classes)."""
    return Network(tuple(input_shape), build, input_dtype)


def check_device(device: str) -> None:
    """Raise ConfigError unless torch can compute on this device here."""
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ConfigError(f"device is {device!r}, which torch cannot use here: {str(error).splitlines()[0]}") from None


def _built(build: Callable[[int], nn.Module], classes: int, seed: int) -> nn.Module:
    """The module on the CPU, from this seed; the state of torch's default generator is left as it was."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        module = build(classes)
    if not isinstance(module, nn.Module):
        raise ConfigError(f"the network's callable gave a {type(module).__name__} but must give a torch.nn.Module")
    lazy = [name for name, value in module.named_parameters() if isinstance(value, nn.UninitializedParameter)]
    if lazy:
        raise ConfigError(f"parameter {lazy[0]!r} has no shape before the first input; give lazy modules their sizes")
    return module


def _persistent(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and the buffers that belong to the state dict, tied ones once."""
    state = set(module.state_dict(keep_vars=True))
    buffers = {name: buffer for name, buffer in module.named_buffers() if name in state}
    return dict(module.named_parameters()) | buffers


def _hollow(module: nn.Module, device: torch.device) -> _Skeleton:
    """Let go of the storage of parameters, which calls bring along; move what they do not bring to the device."""
    tensors = {name: tensor.detach().to("meta") for name, tensor in _persistent(module).items()}
    trainable = tuple(name for name, parameter in module.named_parameters() if parameter.requires_grad)
    constants = {name: buffer.to(device) for name, buffer in module.named_buffers() if name not in tensors}
    first = {id(tensor): name for name, tensor in _persistent(module).items()}
    state = module.state_dict(keep_vars=True)
    ties = {name: first[id(value)] for name, value in state.items() if name not in tensors and id(value) in first}
    empty: dict[nn.Parameter, nn.Parameter] = {}  # tied parameters must stay one object
    for child in module.modules():
        for name, parameter in child._parameters.items():
            if parameter is not None:
                stand_in = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
                child._parameters[name] = empty.setdefault(parameter, stand_in)
    return _Skeleton(module.train(), tensors, trainable, constants, ties)


@contextlib.contextmanager
def _named(where: str, known: str = "") -> Iterator[None]:
    """Errors of a network's own code as ConfigError. where: what it was doing. known: what causes that as a rule."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        hint = f" ({known})" if known else ""
        raise ConfigError(f"the network fails {where}{hint}: {type(error).__name__}: {error}") from error


def _require_logits(logits: object, inputs: int) -> None:
    """Raise ConfigError unless this is what a network of two classes must give for so many inputs."""
    found = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
    if found != (inputs, 2):
        raise ConfigError(f"the network gives {found} for inputs of two classes, expected a tensor ({inputs}, 2)")


def _float32(name: str, tensor: Tensor) -> Shape:
    if tensor.dtype != torch.float32:
        raise ConfigError(f"parameter {name!r} is {tensor.dtype} but shared parameters must be torch.float32")
    return tuple(tensor.shape)
