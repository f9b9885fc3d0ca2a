"""Where a network is trained: its data there, the arithmetic, random numbers, and what a GPU's trouble means."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import prod

import torch
from torch import Tensor

from apd.config import Precision
from apd.data import Pool, Samples, Split
from apd.state import Shape

EVALUATED = 1000
EVALUATED_NUMBERS = 2**24
"""What is evaluated at once: at most so many samples, and so many numbers in their inputs (64 MiB)."""

OF_THE_GPU = (
    "CUDA-capable device(s) is/are busy or unavailable",
    "all CUDA-capable devices are busy or unavailable",
    "initialization error",
    "no kernel image is available",
    "out of memory",
    "system not yet initialized",
    "uncorrectable ECC error encountered",
)
"""How CUDA names trouble that another GPU, or this one another time, would not have. An illegal access is not among
them: it is mostly the network's own, which would fail for ever without counting against its task."""


def evaluated_at_once(input_shape: Shape) -> int:
    """Samples of that shape whose activations are held together where nothing is trained."""
    return max(1, min(EVALUATED, EVALUATED_NUMBERS // prod(input_shape)))


def resident(samples: Samples, device: torch.device) -> Samples:
    """The samples on the device, if they take no more than half of its free memory; otherwise where they are."""
    if device.type != "cuda":
        return samples.to(device)
    parts = samples.parts if isinstance(samples, Pool) else (samples,)
    in_memory = all(isinstance(part, Split) for part in parts)
    if not in_memory or 2 * len(samples) * samples.row_bytes > _free(device):
        return samples
    return samples.joined(device) if isinstance(samples, Pool) else samples.to(device)


def _free(device: torch.device) -> int:
    """Bytes that a tensor may still take: what the driver has, and what torch keeps of it without need."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def sent(inputs: Tensor, labels: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """A batch on the device; the copy from pinned memory runs beside what a GPU computes."""
    if inputs.device.type == device.type:
        return inputs, labels
    return inputs.pin_memory().to(device, non_blocking=True), labels.pin_memory().to(device, non_blocking=True)


def arithmetic(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """In this block the network is computed in that precision."""
    return nullcontext() if precision == "float32" else torch.autocast(device.type, dtype=torch.bfloat16)


def laid_out(inputs: Tensor, precision: Precision) -> Tensor:
    """Pictures channels last in bfloat16: its convolutions are fast in that order alone, on CPUs as on GPUs.

    LeNet 20-50-800-500 on one core with AVX-512 BF16, batch 100: 1,000 pictures a second in float32, 1,700 in bfloat16,
    1,400 channels last, 2,950 with both.
    """
    wanted = precision == "bfloat16" and inputs.ndim == 4
    return inputs.contiguous(memory_format=torch.channels_last) if wanted else inputs


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Work on the device, with random numbers that follow from the seed; afterwards all generators are as before."""
    on_gpu = device.type == "cuda"
    current = torch.cuda.device(device) if on_gpu else nullcontext()
    with current, torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)  # torch's own function would seed every GPU there is
        if on_gpu:
            torch.cuda.manual_seed(seed)
        yield


def is_out_of_memory(error: BaseException) -> bool:
    """Python's own, a GPU's, or a RuntimeError that says so: torch's on the CPU, and its libraries' on a GPU."""
    said = ("can't allocate memory", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or (isinstance(error, RuntimeError) and any(text in str(error) for text in said))


def is_of_the_gpu(error: BaseException) -> bool:
    """Whether the GPU or its driver failed, and not what it was told to do, as by an index out of range."""
    return isinstance(error, RuntimeError) and any(f"CUDA error: {text}" in str(error) for text in OF_THE_GPU)
