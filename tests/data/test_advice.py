"""What is said of tasks whose inputs no network learns well from."""

from pathlib import Path

import numpy as np
import pytest

from apd.data import LocalFolder, advice, pack_arrays

LABELS = np.arange(40) % 2


def said(folder: Path, inputs: np.ndarray) -> str | None:
    return advice(LocalFolder(folder), pack_arrays(folder, "sensors", (inputs, LABELS)))


def test_standardised_values_and_pictures_need_no_advice(tmp_path: Path):
    values = np.random.default_rng(0).normal(size=(40, 3))
    assert said(tmp_path / "floats", values) is None
    assert said(tmp_path / "unit", values.clip(0, 1)) is None
    assert said(tmp_path / "bytes", (values * 20 + 128).astype(np.uint8)) is None


@pytest.mark.parametrize(("factor", "shift", "size"), [(1000, 0, "1e+03"), (1, 1013, "1.01e+03"), (1e-3, 0, "0.001")])
def test_values_of_another_size_are_named(tmp_path: Path, factor: float, shift: float, size: str):
    values = np.where(np.arange(40) % 2, 1, -1)[:, None] * [0.1, 0.1, 1]
    told = said(tmp_path / "task", values * factor + [0, 0, shift])
    assert told is not None
    assert told.startswith(f"inputs are about {size} in size (root mean square of value 2)")


def test_enormous_values_are_named_too(tmp_path: Path):
    told = said(tmp_path / "task", np.random.default_rng(0).normal(size=(40, 3)) * 1e30)
    assert told is not None
    assert "e+30 in size" in told


def test_inputs_that_are_all_the_same_are_named(tmp_path: Path):
    assert "40 inputs are all the same" in (said(tmp_path / "task", np.ones((40, 3))) or "")
