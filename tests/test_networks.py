"""Networks as functions of named tensors: what is shared, the same bits from the same seed, and no hidden state."""

import copy
import pickle
import sys
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from apd.config import NetworkConfig, StreamConfig
from apd.errors import ConfigError, ShapeMismatch, StateError
from apd.networks import from_config, of_module
from apd.networks.architectures import LeNet, LocalResponseNorm, ResNet18, SamePool

PICTURES = (1, 8, 8)
BUILT_IN = [
    NetworkConfig("mlp", {"hidden": [12, 10]}),
    NetworkConfig("lenet", {"widths": [4, 6, 8, 10]}),
    NetworkConfig("resnet18", {"width": 4}),
    NetworkConfig("resnet18", {"width": 4, "large_pictures": True}),
]


def network(config=BUILT_IN[0], shape=PICTURES, dtype="uint8"):
    return from_config(StreamConfig(shape, dtype, config))


def pictures(count=4, shape=PICTURES):
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("config", BUILT_IN, ids=lambda config: f"{config.name}-{len(config.arguments)}")
@pytest.mark.parametrize("classes", [2, 5])
def test_built_in_networks_share_their_weights_and_keep_the_rest_private(config, classes):
    net = network(config)
    spec, tensors = net.spec(classes), net.initial(classes, seed=3)
    assert dict(spec.head) == {name: tuple(tensors[name].shape) for name in ("head.weight", "head.bias")}
    assert set(spec.shared) | set(spec.private) | set(spec.head) == set(tensors)
    assert all(tuple(tensors[name].shape) == shape for name, shape in spec.shared.items())
    assert all(tuple(tensors[name].shape) == kind[0] for name, kind in spec.private.items())
    assert all(len(shape) >= 2 for shape in spec.shared.values())
    assert all(len(shape) < 2 for shape, _ in spec.private.values())
    assert net.forward(tensors, pictures(), training=False).shape == (4, classes)
    assert spec.shared == net.spec(classes + 3).shared


def test_the_papers_lenet_shares_as_many_parameters_as_the_paper_says():
    assert network(NetworkConfig("lenet"), (3, 32, 32)).spec(5).size == 2_986_500


def test_a_resnet18_has_the_usual_number_of_weights():
    assert sum(p.numel() for p in ResNet18((3, 224, 224), 1000, large_pictures=True).parameters()) == 11_689_512


@pytest.mark.parametrize("config", BUILT_IN[:3], ids=lambda config: config.name)
def test_the_function_agrees_with_the_module(config):
    net = network(config)
    torch.manual_seed(5)
    module = net.build(3)
    tensors = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for training in (True, False):
        module.train(training)
        assert torch.equal(net.forward(tensors, pictures(), training), module(pictures().float() / 255))
    assert all(torch.equal(tensors[name], value) for name, value in module.state_dict().items())


def test_initial_values_depend_on_the_seed_alone_and_leave_the_generator_alone():
    net, before = network(), torch.get_rng_state()
    first, again, other = net.initial(3, 7), net.initial(3, 7), net.initial(3, 8)
    net.spec(3)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["dense1.weight"], other["dense1.weight"])


def test_buffers_are_updated_in_place_while_training_and_only_then():
    net = network(BUILT_IN[2])
    tensors = net.initial(3, 0)
    counter = tensors["stem.norm.num_batches_tracked"]
    assert net.spec(3).private["stem.norm.num_batches_tracked"] == ((), "int64")
    net.forward(tensors, pictures(), training=False)
    assert counter == 0
    net.forward(tensors, pictures(), training=True)
    assert counter == 1
    assert not torch.equal(tensors["stem.norm.running_mean"], torch.zeros(4))
    assert net.initial(3, 0)["stem.norm.num_batches_tracked"] == 0


def test_two_tasks_of_one_network_do_not_see_each_other():
    net = network(BUILT_IN[2])
    one, other = net.initial(3, 0), net.initial(5, 1)
    expected = net.forward(one, pictures(), training=False)
    for _ in range(2):
        net.forward(other, pictures(), training=True)
    assert torch.equal(net.forward(one, pictures(), training=False), expected)


def test_trainable_tensors_are_the_parameters_without_the_buffers():
    net = network(BUILT_IN[2])
    assert set(net.trainable(3)) == {name for name, _ in net.build(3).named_parameters()}


def test_gradients_reach_the_tensors_given():
    net = network()
    tensors = {name: tensor.requires_grad_() for name, tensor in net.initial(3, 0).items()}
    F.cross_entropy(net.forward(tensors, pictures(), training=True), torch.tensor([0, 1, 2, 0])).backward()
    assert all(tensor.grad is not None and tensor.grad.abs().sum() > 0 for tensor in tensors.values())


def test_float_inputs_are_taken_as_they_are_and_bytes_are_divided_by_255():
    net = network()
    tensors = net.initial(2, 0)
    raw = pictures()
    assert torch.equal(net.forward(tensors, raw, False), net.forward(tensors, raw.float() / 255, False))


def test_dropout_acts_in_training_only():
    net = of_module(lambda classes: nn.Sequential(nn.Linear(6, 50), nn.Dropout(0.5), nn.Linear(50, classes)), (6,))
    tensors, inputs = net.initial(2, 0), torch.ones(3, 6)
    torch.manual_seed(0)
    assert not torch.equal(net.forward(tensors, inputs, True), net.forward(tensors, inputs, True))
    assert torch.equal(net.forward(tensors, inputs, False), net.forward(tensors, inputs, False))


class Reader(nn.Module):
    """A recurrent network, which keeps second references to its parameters."""

    def __init__(self, classes):
        super().__init__()
        self.read = nn.LSTM(6, 5, batch_first=True)
        self.head = nn.Linear(5, classes)

    def forward(self, x):
        return self.head(self.read(x)[0][:, -1])


class Normed(nn.Sequential):
    """Weights computed from other tensors, and attention."""

    def __init__(self, classes):
        normed = torch.nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6))
        super().__init__(
            normed, nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), nn.Flatten(), nn.Linear(24, classes)
        )


@pytest.mark.parametrize("build", [Reader, Normed])
def test_modules_that_treat_their_parameters_in_ways_of_their_own(build):
    net, inputs = of_module(build, (4, 6)), torch.rand(3, 4, 6)
    tensors = {name: tensor * 1.5 for name, tensor in net.initial(2, 0).items()}
    module = build(2).eval()
    module.load_state_dict(tensors)
    with torch.no_grad():
        assert torch.allclose(net.forward(tensors, inputs, False), module(inputs), atol=1e-6)


def test_two_threads_that_call_one_network_at_the_same_time_take_turns():
    """The second comes while the first is between two layers, and would change the tensors and the mode it is in."""
    entered, gone = threading.Event(), threading.Event()

    class Halting(nn.Sequential):
        def forward(self, x):
            x = self[0](x)
            if not entered.is_set():
                entered.set()
                gone.wait(0.3)
            return self[2](self[1](x))

    net = of_module(lambda classes: Halting(nn.Linear(4, 50), nn.Dropout(0.5), nn.Linear(50, classes)), (4,))
    one, other, inputs, found = net.initial(2, 0), net.initial(2, 1), torch.ones(3, 4), []
    thread = threading.Thread(target=lambda: found.append(net.forward(one, inputs, training=False)))
    thread.start()
    entered.wait()
    net.forward(other, inputs, training=True)
    gone.set()
    thread.join()
    assert torch.equal(found[0], net.forward(one, inputs, training=False))


def test_a_network_can_be_copied_and_sent_to_another_process():
    net = network()
    tensors = net.initial(3, 0)
    expected = net.forward(tensors, pictures(), False)
    for other in (copy.deepcopy(net), copy.copy(net), pickle.loads(pickle.dumps(net))):
        assert (other.input_shape, other.input_dtype) == (net.input_shape, net.input_dtype)
        assert torch.equal(other.forward(tensors, pictures(), False), expected)


class Odd(nn.Module):
    """A tied weight, a buffer outside the state dict that forward changes, and a head of three tensors."""

    def __init__(self, classes):
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 4, bias=False)
        self.two.weight = self.one.weight
        self.register_buffer("shift", torch.full((4,), 2.0), persistent=False)
        self.out = nn.Linear(4, 2 * classes)
        self.scale = nn.Parameter(torch.ones(classes))
        self.classes = classes

    def forward(self, x):
        self.shift.add_(1)
        return self.out(self.two(self.one(x)) + self.shift).reshape(-1, self.classes, 2).sum(2) * self.scale


def test_tied_parameters_hidden_buffers_and_unusual_heads():
    net = of_module(Odd, (4,))
    spec, tensors = net.spec(3), net.initial(3, 0)
    assert dict(spec.head) == {"scale": (3,), "out.weight": (6, 4), "out.bias": (6,)}
    assert dict(spec.shared) == {"one.weight": (4, 4)}
    assert set(spec.private) == {"one.bias"}
    first = net.forward(tensors, torch.ones(2, 4), training=True)
    assert first.shape == (2, 3)
    assert torch.equal(first, net.forward(tensors, torch.ones(2, 4), training=True))
    torch.default_generator.manual_seed(0)
    assert torch.allclose(first, Odd(3)(torch.ones(2, 4)))
    state = net.state_dict(tensors)
    assert state["two.weight"] is tensors["one.weight"]
    Odd(3).load_state_dict(state, strict=True)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda classes: nn.Linear(4, 4), "it has no head"),
        (lambda classes: nn.Linear(4, classes), "nothing to share"),
        (
            lambda classes: nn.Sequential(*[nn.Linear(4, 4)] * 1, *[nn.Linear(4, 4) for _ in range(classes)]),
            "only one of",
        ),
        (lambda classes: nn.Sequential(nn.Linear(4, 4).half(), nn.Linear(4, classes)), "must be torch.float32"),
        (lambda classes: nn.Sequential(nn.LazyLinear(4), nn.Linear(4, classes)), "no shape before the first input"),
        (lambda classes: print, "must give a torch.nn.Module"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_networks_that_cannot_be_decomposed_are_refused(build, message):
    with pytest.raises(ConfigError, match=message):
        of_module(build, (4,)).spec(3)


def test_tensors_of_another_network_are_refused_by_name():
    net = network()
    tensors = net.initial(3, 0)
    inputs = pictures()
    with pytest.raises(StateError, match=r"'dense1.bias' is missing"):
        net.forward({name: tensor for name, tensor in tensors.items() if name != "dense1.bias"}, inputs, False)
    with pytest.raises(StateError, match=r"'extra' is not a tensor of the network"):
        net.forward(tensors | {"extra": torch.zeros(1)}, inputs, False)
    with pytest.raises(ShapeMismatch, match=r"'dense1.bias' is \(9,\) but the network with 3 classes expects \(12,\)"):
        net.forward(tensors | {"dense1.bias": torch.zeros(9)}, inputs, False)
    with pytest.raises(ShapeMismatch, match=r"'head.weight' is \(4, 10\) but the network with 3"):
        net.forward(tensors | {"head.weight": torch.zeros(4, 10)}, inputs, False)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(1, 12), st.integers(1, 12))
def test_local_response_normalisation_is_the_papers(channels, height, width):
    x = torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(channels)) * 30
    naive = torch.empty_like(x)
    for c in range(channels):
        around = x[:, max(c - 4, 0) : c + 5].square().sum(1)
        naive[:, c] = x[:, c] / (1 + 0.001 / 9 * around) ** 0.75
    assert torch.allclose(LocalResponseNorm(channels)(x), naive, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 5, 12])
def test_the_gradient_of_response_normalisation_is_that_of_finite_differences(channels):
    norm = LocalResponseNorm(channels, alpha=2.0).double()
    x = torch.randn(2, channels, 2, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(norm, (x,))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 13), st.integers(1, 13))
def test_pooling_pads_as_little_as_gives_half_the_size_rounded_up(height, width):
    x = torch.randn(1, 2, height, width)
    pads = [max((-(-size // 2) - 1) * 2 + 3 - size, 0) for size in (height, width)]
    sides = [pads[1] // 2, pads[1] - pads[1] // 2, pads[0] // 2, pads[0] - pads[0] // 2]
    naive = F.max_pool2d(F.pad(x, sides, value=-torch.inf), 3, 2)
    assert naive.shape[2:] == (-(-height // 2), -(-width // 2))
    assert torch.equal(SamePool(height, width)(x), naive)


def test_lenet_takes_odd_sizes():
    assert LeNet((2, 7, 10), 3, widths=(2, 3, 4, 5))(torch.zeros(1, 2, 7, 10)).shape == (1, 3)


def test_a_network_of_your_own_by_name(tmp_path, monkeypatch):
    (tmp_path / "mine_a.py").write_text(
        "from torch import nn\n"
        "def make(input_shape, classes, *, hidden=3):\n"
        "    return nn.Sequential(nn.Linear(input_shape[0], hidden), nn.Linear(hidden, classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    net = network(NetworkConfig("mine_a:make", {"hidden": 6}), (5,), "float32")
    assert dict(net.spec(4).shared) == {"0.weight": (6, 5)}
    assert net.forward(net.initial(4, 0), torch.ones(2, 5), False).shape == (2, 4)
    with pytest.raises(
        ConfigError, match=r"\{'depth': 3\} but the network is mine_a:make\(input_shape, classes, \*, hidden=3\)"
    ):
        network(NetworkConfig("mine_a:make", {"depth": 3}), (5,))
    with pytest.raises(ConfigError, match=r"'mine_a:maker': module 'mine_a' has no 'maker'"):
        network(NetworkConfig("mine_a:maker"))
    with pytest.raises(ConfigError, match=r"'mine_a:nn': module 'mine_a' has 'nn', a module"):
        network(NetworkConfig("mine_a:nn"))


def test_a_module_that_is_not_there_or_does_not_import(tmp_path, monkeypatch):
    (tmp_path / "mine_b.py").write_text("import no_such_dependency\n")
    (tmp_path / "mine_c.py").write_text("from torch import no_such_name\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"network 'nowhere\.nets:make': no module 'nowhere', looked in .*PYTHONPATH"):
        network(NetworkConfig("nowhere.nets:make"))
    with pytest.raises(ConfigError, match="no module 'no_such_dependency'"):
        network(NetworkConfig("mine_b:make"))
    with pytest.raises(ConfigError, match="importing module 'mine_c' failed"):
        network(NetworkConfig("mine_c:make"))
    assert "mine_c" not in sys.modules


@pytest.mark.parametrize(
    ("config", "shape", "message"),
    [
        (NetworkConfig("mlp", {"hidden": []}), PICTURES, r"network.arguments.hidden is \[\]"),
        (NetworkConfig("mlp", {"hidden": "big"}), PICTURES, "network.arguments.hidden is 'big'"),
        (NetworkConfig("lenet", {"widths": [1, 2, 3]}), PICTURES, "four sizes"),
        (NetworkConfig("lenet"), (64,), r"input_shape is \(64,\) but must be \(channels, height, width\)"),
        (NetworkConfig("resnet18", {"width": 0}), PICTURES, "network.arguments.width"),
    ],
)
def test_wrong_arguments_of_built_in_networks_are_refused(config, shape, message):
    with pytest.raises(ConfigError, match=message):
        network(config, shape).spec(2)
