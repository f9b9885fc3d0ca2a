"""Work that ends in every way that work can end; in a module of its own, so that other processes can import it."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import ray
import torch

from apd.actors.workers import Worker, has_gpu
from apd.errors import TaskRejected


class Troubled(Worker):
    """Work that ends in every way that work can end."""

    def count_and_reject(self, end: int) -> Iterator[int]:
        number = 0
        while number < end:
            yield number
            number += 1
        raise TaskRejected("shoes: no good")

    def break_down(self) -> Iterator[int]:
        yield 0
        raise ZeroDivisionError("our own defect")

    def run_out_of_memory(self) -> Iterator[int]:
        yield 0
        torch.empty(2**60)

    def die(self) -> Iterator[int]:
        yield 0
        time.sleep(0.5)  # the item is on its way
        os.kill(os.getpid(), signal.SIGKILL)

    def stay(self) -> Iterator[int]:
        yield os.getpid()
        time.sleep(600)

    def note(self, name: str) -> None:
        if name == "bad":
            raise TaskRejected("bad: no good")
        with Path(self.url).open("a") as file:
            file.write(f"{name}\n")

    def end(self, delay: float) -> None:
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGKILL)

    def place(self, _: int) -> tuple[str, int]:
        """Id of the node, and of the process."""
        return ray.get_runtime_context().get_node_id(), os.getpid()

    def has_gpu(self, _: int) -> bool:
        return has_gpu()
