"""A training step recorded once as a CUDA graph, and replayed for the batches after it.

For a small network, starting a step's fifty kernels from Python takes a GPU longer than running them; a graph starts
them all at once. The kernels, their order and their tensors are those of the step itself, so what is learned is the
same, unless the network decides in Python what to do, by chance or by a count. What the step reads from Python, its
step size above all, is part of the recording: record anew when it changes.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from apd.errors import ConfigError

Step = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
"""(inputs, labels, samples in the batch) -> tensors that the caller reads before the next step."""

WARM_UP = 3
"""Steps taken as they are, on another stream, before the recording: libraries set themselves up in them."""


class Replay:
    """A step for batches on a GPU; those of another shape than the first one's are not replayed."""

    def __init__(self, step: Step) -> None:
        self._step, self._taken = step, 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs, self._labels = torch.empty(0), torch.empty(0)
        self._outcome = self._inputs, self._labels

    def __call__(self, inputs: Tensor, labels: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """As the step; what is returned is overwritten by the next one."""
        if self._taken < WARM_UP:
            return self._warm_up(inputs, labels, batch)
        if self._graph is None:
            self._record(inputs, labels, batch)
        if inputs.shape != self._inputs.shape or self._graph is None:
            return self._step(inputs, labels, batch)
        self._inputs.copy_(inputs)
        self._labels.copy_(labels)
        self._graph.replay()
        return self._outcome

    def _warm_up(self, inputs: Tensor, labels: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        self._taken += 1
        aside = _aside(inputs.device)
        aside.wait_stream(torch.cuda.current_stream(inputs.device))
        with torch.cuda.stream(aside):
            outcome = self._step(inputs, labels, batch)
        torch.cuda.current_stream(inputs.device).wait_stream(aside)
        return outcome

    def _record(self, inputs: Tensor, labels: Tensor, batch: int) -> None:
        """Recording runs nothing: the batch it is made with is still to be taken."""
        self._inputs, self._labels = inputs.clone(), labels.clone()
        self._graph, aside = torch.cuda.CUDAGraph(), _aside(inputs.device)  # torch's own is on the first GPU it met
        try:
            with torch.cuda.graph(self._graph, stream=aside, capture_error_mode="thread_local"):  # others may go on
                self._outcome = self._step(self._inputs, self._labels, batch)
        except RuntimeError as error:
            if "captur" not in str(error):
                raise
            raise ConfigError(
                f"a training step of this network cannot be recorded, set learning.cuda_graphs to false: {error}"
            ) from error


@functools.cache
def _aside(device: torch.device) -> torch.cuda.Stream:
    """The stream of this GPU for warm-ups and recordings.

    One for all of them: cuBLAS keeps a workspace, and torch's allocator a pool, for every stream that was ever used.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
