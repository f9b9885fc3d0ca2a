import os
import subprocess
import sys

import pytest
import torch

from apd.decomposition import arrive, bare_state, broadcast_mask, check_spec, compose, masked
from apd.errors import ShapeMismatch
from apd.state import FIRST, Sparse, Spec, TaskState

SIGMA = {"conv.weight": torch.arange(12.0).reshape(2, 3, 2, 1), "dense.weight": torch.ones(3, 4)}


def task(**changes) -> TaskState:
    logits = {"conv.weight": torch.tensor([-2.0, 0.5]), "dense.weight": torch.zeros(3)}
    tau = {"conv.weight": Sparse.zeros((2, 3, 2, 1)), "dense.weight": Sparse.from_dense(torch.eye(3, 4))}
    values = {"name": "a", "sigma": SIGMA, "mask_logits": logits, "tau": tau, "private": {"bias": torch.ones(1)}}
    return TaskState(**(values | {"clusters": {}, "local_shared": {}} | changes))


def test_a_mask_multiplies_output_units():
    assert broadcast_mask(torch.ones(2), 4).shape == (2, 1, 1, 1)
    found = masked(SIGMA["conv.weight"], torch.tensor([-2.0, 0.5]))
    for unit, logit in enumerate((-2.0, 0.5)):
        expected = SIGMA["conv.weight"][unit] / (1 + torch.exp(torch.tensor(-logit)))
        torch.testing.assert_close(found[unit], expected)


def test_a_mask_has_the_same_bits_whatever_instructions_the_processor_has():
    """A node finds what another one has measured by the digest of theta."""
    code = "import numpy, torch; from apd.decomposition import unit_mask; "
    code += "logits = numpy.random.RandomState(0).normal(0, 4, 100_003).astype('float32'); "
    code += "print(unit_mask(torch.from_numpy(logits)).view(torch.int32).tolist())"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"ATEN_CPU_CAPABILITY": level},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for level in ("default", "avx2", "avx512")
    }
    assert len(found) == 1


def test_theta_is_the_sum_of_its_three_parts():
    clustered = task(
        clusters={"dense.weight": 0}, local_shared={"dense.weight": Sparse.from_dense(2 * torch.ones(3, 4))}
    )
    theta = compose(clustered)
    torch.testing.assert_close(theta["dense.weight"], 0.5 * torch.ones(3, 4) + torch.eye(3, 4) + 2)
    torch.testing.assert_close(theta["conv.weight"], masked(SIGMA["conv.weight"], torch.tensor([-2.0, 0.5])))


def test_the_bare_state_has_theta_and_what_is_private():
    assert set(bare_state(task())) == {"conv.weight", "dense.weight", "bias"}


def test_statistics_add_up_masks():
    once = arrive(FIRST, task(), SIGMA)
    twice = arrive(once, task(), SIGMA)
    mask = torch.sigmoid(torch.tensor([-2.0, 0.5]))
    torch.testing.assert_close(twice.pull["conv.weight"], 2 * mask)
    assert (once.earlier, twice.earlier) == (1, 2)
    assert twice.sigma is SIGMA


def test_a_task_of_another_network_is_named():
    spec = Spec({"conv.weight": (2, 3, 2, 1), "dense.weight": (3, 5)}, {}, ())
    with pytest.raises(ShapeMismatch, match=r"sigma\['dense.weight'\] of task 'a' is \(3, 4\) but .* expects \(3, 5\)"):
        check_spec(spec, task())
    with pytest.raises(ShapeMismatch, match="is None but the network expects"):
        check_spec(Spec({"new.weight": (1, 1)}, {}, ()), task())
