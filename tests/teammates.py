"""Workers of a team as plain processes on this machine, for tests that need no cluster."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed, multiprocessing

from apd.team import Team

Work = Callable[..., dict[str, Tensor]]


def together(work: Work, size: int, place: Path, *arguments: Any) -> list[dict[str, Tensor]]:
    """Return what `work(team, *arguments)` gives to each of so many workers; `place` is a new folder."""
    place.mkdir()
    multiprocessing.spawn(join, (size, place, work, arguments), nprocs=size)
    return [load_file(place / f"{rank}.safetensors") for rank in range(size)]


def join(rank: int, size: int, place: Path, work: Work, arguments: tuple[Any, ...]) -> None:
    """Do one worker's part, in a process of its own."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{place}/meeting", rank=rank, world_size=size)
    save_file(work(Team(rank, size), *arguments), place / f"{rank}.safetensors")
    distributed.destroy_process_group()
