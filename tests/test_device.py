"""Where and how precisely a network is trained. What needs a GPU is skipped where there is none."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import toys
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from apd import Learner
from apd.config import LearningConfig, NetworkConfig, StreamConfig
from apd.data import Pool, Split, TaskData
from apd.decomposition import arrive, bare_state
from apd.device import evaluated_at_once, is_of_the_gpu, is_out_of_memory, resident, seeded
from apd.errors import Diverged
from apd.joint import JointTask, JointTraining
from apd.networks import Network, from_config, of_module
from apd.state import FIRST, Arrival
from apd.training import Fit

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that this torch can use")
CONFIG = LearningConfig(epochs=4, batch_size=20, learning_rate=0.01, capacity_per_task=0.2)
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "is_nonzero", "equal"}
"""Operations whose outcome Python or a shape waits for: on a GPU each lets the device run dry."""


class Waits(TorchDispatchMode):
    """Lists the operations that a device would have to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        indexed_by_mask = name == "index" and any(index is not None and index.dtype == torch.bool for index in args[1])
        if name in WAITING or indexed_by_mask:
            self.found.append(name)
        return function(*args, **(kwargs or {}))


def lenet(size: int = 8) -> Network:
    widths = {"widths": [4, 6, 16, 12]}
    return from_config(StreamConfig(input_shape=(3, size, size), network=NetworkConfig("lenet", widths)))


def dense() -> Network:
    """Without convolutions, whose gradients a GPU need not add up in the same order every time."""
    return from_config(StreamConfig(input_shape=(3, 8, 8), network=NetworkConfig("mlp", {"hidden": [16]})))


def dropping() -> Network:
    def build(classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, classes))

    return of_module(build, (3, 8, 8), "uint8")


def pictures(seed: int = 0, count: int = 80, size: int = 8) -> TaskData:
    """Three classes, each with a pattern of its own under noise."""
    generator = torch.Generator().manual_seed(seed)
    patterns = 200 * torch.rand(3, 3, size, size, generator=generator)

    def split(count: int) -> Split:
        labels = torch.arange(count) % 3
        noise = 55 * torch.rand(count, 3, size, size, generator=generator)
        return Split((patterns[labels] + noise).to(torch.uint8), labels)

    return TaskData(split(count), split(30), split(30))


def second(network: Network, data: TaskData, device: str = "cpu", **settings: Any) -> Fit:
    """A second task, with a budget unless the settings say otherwise; the first was trained on the CPU."""
    return Fit(network, "second", 3, data, first_of(network), dataclasses.replace(CONFIG, **settings), device=device)


def first_of(network: Network) -> Arrival:
    data = pictures() if network.input_dtype == "uint8" else toys.data(1)
    training = Fit(network, "first", 3, data, FIRST, CONFIG)
    list(training.epochs())
    task = training.result().task
    return arrive(FIRST, task, task.sigma)


def steps_of(training: Fit) -> Callable[[], None]:
    """What an epoch does between its beginning and its end: every step, with the picking of its batch."""
    batches = list(training._train.batch_rows(20, 0, 1))  # an epoch's order is copied to the device, which waits once

    def run() -> None:
        for rows in batches:
            training._step(*training._batch(rows), len(rows))

    return run


@contextmanager
def no_wait_for_the_device() -> Iterator[None]:
    """Any wait within the block is an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


BUDGET: dict[str, Any] = {}
SPARSITY = {"capacity_per_task": None, "sparsity": 1e-3}


@pytest.mark.parametrize("settings", [BUDGET, SPARSITY], ids=["budget", "l1"])
@pytest.mark.parametrize("make", [toys.network, toys.normalised_network, lenet])
def test_no_step_waits_for_the_device(make: Callable[[], Network], settings: dict[str, Any]) -> None:
    network = make()
    run = steps_of(second(network, pictures() if network.input_dtype == "uint8" else toys.data(2), **settings))
    run()  # what is made once may take its time
    with Waits() as waits:
        run()
    assert waits.found == []


def test_a_step_that_waits_is_found() -> None:
    class Curious(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            assert bool(inputs.isfinite().all())
            return super().forward(inputs)

    network = of_module(lambda classes: nn.Sequential(Curious(toys.SIZE, 8), nn.Linear(8, classes)), (toys.SIZE,))
    run = steps_of(second(network, toys.data(2)))
    with Waits() as waits:
        run()
    assert waits.found == ["_local_scalar_dense"] * 3


def test_bfloat16_changes_gradients_by_its_rounding_alone_and_no_dtype() -> None:
    """Convolutions hand back gradients whose strides are channels last; they reach the right elements all the same."""
    network, data, moved = lenet(), pictures(), {}
    for precision in ("float32", "bfloat16"):
        training = Fit(network, "t", 3, data, FIRST, dataclasses.replace(CONFIG, precision=precision))
        training._step(data.train.inputs, data.train.labels, len(data.train))
        moved[precision] = {key: value for key, value in training._adam.state.items() if key.startswith("first/")}
        assert {tensor.dtype for tensor in training.snapshot().tensors.values()} == {torch.float32}
    for key, exact in moved["float32"].items():
        found = moved["bfloat16"][key]
        assert 0 < (found - exact).norm() < 0.1 * exact.norm(), key


@pytest.mark.parametrize("precision", toys.PRECISIONS)
def test_an_epoch_is_validated_in_the_precision_of_its_steps_and_a_result_in_float32(precision: str) -> None:
    class Observed(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            outputs = super().forward(inputs)
            seen.append(outputs.dtype)
            return outputs

    seen: list[torch.dtype] = []
    network = of_module(lambda classes: nn.Sequential(Observed(toys.SIZE, 8), nn.Linear(8, classes)), (toys.SIZE,))
    config, data = dataclasses.replace(CONFIG, epochs=2, precision=precision), toys.data(2)
    single = Fit(network, "t", 3, data, FIRST, config)
    joint = JointTraining(network, [JointTask("t", 3, data)], config)
    for training, measure in ((single, single.result), (joint, lambda: joint.accuracies)):
        list(training.epochs())
        assert set(seen) == {getattr(torch, precision)}
        seen.clear()
        measure()
        assert set(seen) == {torch.float32}
        seen.clear()


def test_a_network_learns_in_bfloat16_what_it_learns_in_float32() -> None:
    accuracies = {}
    for precision in ("float32", "bfloat16"):
        config = dataclasses.replace(CONFIG, epochs=12, precision=precision)
        training = Fit(lenet(), "t", 3, pictures(2), FIRST, config)
        list(training.epochs())
        accuracies[precision] = training.result().validation_accuracy
    assert accuracies["float32"] > 0.9
    assert abs(accuracies["bfloat16"] - accuracies["float32"]) < 0.07


def test_a_module_in_another_memory_format_learns_the_same() -> None:
    learned = []
    for order in (torch.contiguous_format, torch.channels_last):

        def build(classes: int, order: torch.memory_format = order) -> nn.Module:
            layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, classes)
            return nn.Sequential(*layers).to(memory_format=order)

        training = Fit(of_module(build, (3, 8, 8), "uint8"), "t", 3, pictures(), FIRST, CONFIG)
        list(training.epochs())
        learned.append(bare_state(training.result().task)["0.weight"])
    torch.testing.assert_close(*learned, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("shape", "rows"), [((3, 32, 32), 1000), ((3, 224, 224), 111), ((2**25,), 1)])
def test_large_inputs_are_evaluated_few_at_a_time(shape: tuple[int, ...], rows: int) -> None:
    assert evaluated_at_once(shape) == rows


def test_training_leaves_the_random_numbers_of_its_caller_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    list(second(dropping(), pictures()).epochs())
    assert torch.equal(torch.get_rng_state(), before)
    with seeded(7, torch.device("cpu")):
        found = torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(found, torch.rand(3))


def test_samples_of_several_tasks_are_joined_in_their_order() -> None:
    parts = [pictures(seed).test for seed in range(3)]
    pool = Pool(tuple(parts), torch.cat([part.labels for part in parts]))
    joined = pool.joined("cpu")
    assert torch.equal(joined.inputs, torch.cat([part.inputs for part in parts]))
    assert torch.equal(joined.labels, pool.labels)


@pytest.mark.parametrize(
    ("error", "memory", "gpu_itself"),
    [
        (RuntimeError("CUDA error: out of memory"), True, True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True, False),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"), True, False),
        (RuntimeError("CUDA error: no kernel image is available for execution on the device"), False, True),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), False, True),
        (RuntimeError("CUDA error: device-side assert triggered"), False, False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False, False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False, False),
    ],
)
def test_trouble_of_a_gpu_is_not_taken_for_a_mistake_of_the_network(
    error: RuntimeError, memory: bool, gpu_itself: bool
) -> None:
    assert (is_out_of_memory(error), is_of_the_gpu(error)) == (memory, gpu_itself)


@gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("settings", [BUDGET, SPARSITY], ids=["budget", "l1"])
def test_no_step_waits_for_a_gpu(settings: dict[str, Any]) -> None:
    run = steps_of(second(lenet(), pictures(2), "cuda", **settings))
    run()
    with no_wait_for_the_device():
        run()


@gpu
def test_a_gpu_learns_what_a_cpu_learns() -> None:
    """Theta within 1e-3 after sixteen steps of Adam and pruning, and the same accuracy."""
    results = []
    for device in ("cpu", "cuda"):
        training = second(toys.network(), toys.data(2), device)
        list(training.epochs())
        results.append(training.result())
    cpu, cuda = results
    assert cuda.validation_accuracy == cpu.validation_accuracy
    expected = bare_state(cpu.task)
    for name, tensor in bare_state(cuda.task).items():
        assert tensor.device.type == "cpu"
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-3)


@gpu
@pytest.mark.parametrize("settings", [BUDGET, SPARSITY], ids=["budget", "l1"])
def test_a_recorded_step_learns_what_the_step_itself_learns(settings: dict[str, Any]) -> None:
    """Theta within 1e-4 after 44 steps; the last batch of every epoch is smaller and not replayed."""
    results = []
    for recorded in (False, True):
        training = second(dense(), pictures(2, count=210), "cuda", cuda_graphs=recorded, **settings)
        list(training.epochs())
        results.append(bare_state(training.result().task))
    for name, tensor in results[0].items():
        torch.testing.assert_close(results[1][name], tensor, rtol=1e-4, atol=1e-4)


@gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_with_convolutions_and_dropout_can_be_recorded(precision: str) -> None:
    """It learns; libraries may take other convolutions for it, so that theta itself is not compared."""
    for network in (lenet(), dropping()):
        config = dataclasses.replace(CONFIG, epochs=12, precision=precision, cuda_graphs=True)
        training = Fit(network, "t", 3, pictures(2), FIRST, config, device="cuda")
        list(training.epochs())
        assert training.result().validation_accuracy > 0.9


@gpu
def test_a_recorded_step_that_leads_to_no_number_ends_training() -> None:
    training = second(dense(), pictures(2, count=210), "cuda", cuda_graphs=True, learning_rate=1e38)
    with pytest.raises(Diverged, match="task 'second' diverged in epoch 1"):
        list(training.epochs())


@gpu
def test_recordings_keep_no_memory_from_one_epoch_to_the_next() -> None:
    epochs = second(lenet(), pictures(2, count=210), "cuda", epochs=20, cuda_graphs=True).epochs()
    allocated = []
    for _ in epochs:
        torch.cuda.synchronize()
        allocated.append(torch.cuda.memory_allocated())
    assert allocated[-1] == allocated[-2] == allocated[-3]


@gpu
def test_data_that_does_not_fit_on_the_gpu_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pictures(2)
    assert resident(data.train, torch.device("cuda")).labels.is_cuda
    assert resident(Pool((data.train,), data.train.labels), torch.device("cuda")).labels.is_cuda
    losses = [progress.loss for progress in second(dense(), data, "cuda").epochs()]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 10**9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", torch.cuda.memory_allocated)
    assert resident(data.train, torch.device("cuda")) is data.train
    assert [progress.loss for progress in second(dense(), data, "cuda").epochs()] == pytest.approx(losses, rel=1e-3)


@gpu
def test_a_learner_on_a_gpu_answers_as_any_other() -> None:
    learner = Learner(
        NetworkConfig("mlp", {"hidden": [16]}), (3, 8, 8), "uint8", device="cuda", epochs=4, batch_size=10
    )
    train = pictures().train
    learner.learn("shoes", (train.inputs, train.labels))
    assert learner.accuracy()["shoes"] > 0.9
    assert learner.predict_proba("shoes", train.inputs).device.type == "cpu"
