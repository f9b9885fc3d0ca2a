"""Shared sigmas that move a little with every arrival: read back bit for bit, and bounded in what they take."""

import uuid

import pytest
import torch

from apd.store.blobs import Blobs
from apd.store.connect import connect
from apd.store.manifest import SigmaRef
from apd.store.objects import Objects
from apd.store.sigmas import Sigmas
from tests.store.same import same_tensors

SIZE = 20_000
BYTES = 4 * SIZE


@pytest.fixture
def objects() -> Objects:
    return connect(f"memory://{uuid.uuid4().hex}")


def moved(sigma: dict[str, torch.Tensor], share: float, chance: torch.Generator) -> dict[str, torch.Tensor]:
    """Somewhere else in this share of its elements."""
    here = torch.rand(SIZE, generator=chance) < share
    return {"w": torch.where(here, torch.randn(SIZE, generator=chance), sigma["w"])}


@pytest.mark.parametrize(("share", "expected"), [(0.002, 0.09), (0.01, 0.19), (0.05, 0.4), (0.9, 1.03)])
def test_what_a_step_takes_does_not_grow_with_the_number_of_steps(
    objects: Objects, share: float, expected: float
) -> None:
    chance = torch.Generator().manual_seed(0)
    sigmas, sigma = Sigmas(Blobs(objects)), {"w": torch.randn(SIZE, generator=chance)}
    written = [(sigmas.write(sigma, {"commit": "0"}), sigma)]
    taken = []
    for step in range(1, 121):
        sigma = moved(sigma, share, chance)
        written.append((sigmas.write(sigma, {"commit": str(step)}, near=written[-1][0]), sigma))
        if step % 60 == 0:
            taken.append(sum(listed.size for listed in objects.list("blobs/")))
    assert taken[0] / 60 < expected * BYTES
    assert (taken[1] - taken[0]) / 60 < expected * BYTES
    again = Sigmas(Blobs(objects))
    assert all(same_tensors(again.load(ref), values) for ref, values in written)


def test_a_sigma_that_did_not_move_is_not_written_again(objects: Objects) -> None:
    chance = torch.Generator().manual_seed(0)
    sigmas, first = Sigmas(Blobs(objects)), {"w": torch.randn(SIZE, generator=chance)}
    base = sigmas.write(first, {"commit": "0"})
    second = moved(first, 0.01, chance)
    delta = sigmas.write(second, {"commit": "1"}, near=base)
    assert sigmas.write(second, {"commit": "2"}, near=delta) == delta
    assert sigmas.write(first, {"commit": "3"}, near=delta) == SigmaRef(base.base)
    assert len(list(objects.list("blobs/"))) == 2


def test_a_delta_has_every_element_whose_bits_differ_be_it_a_zero_or_no_number(objects: Objects) -> None:
    first = {"w": torch.zeros(SIZE)}
    second = {"w": torch.zeros(SIZE)}
    second["w"][1], second["w"][2] = -0.0, float("nan")
    sigmas = Sigmas(Blobs(objects))
    base = sigmas.write(first, {"commit": "0"})
    moved_on = sigmas.write(second, {"commit": "1"}, near=base)
    assert moved_on.base == base.base
    assert same_tensors(Sigmas(Blobs(objects)).load(moved_on), second)
    assert sigmas.write(second, {"commit": "2"}, near=moved_on) == moved_on
