"""A benchmark on a Ray that was started elsewhere."""

from pathlib import Path

import pytest

from apd.errors import ApdError
from apd.store.results import Results
from flows.benchmark import benchmark

TINY = {"tasks": 2, "network": {"arguments": {"hidden": [16]}}, "learning": {"epochs": 1, "batch_size": 256}}


def test_a_relative_folder_of_results_is_where_the_flow_runs(
    engines: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    table, *_ = benchmark("digits", "results", methods=["finetuning"], orders=["A"], settings=TINY)
    assert Path(table).parent == tmp_path / "results"
    assert [file.name for file in (tmp_path / "results" / "cells").iterdir()] == ["finetuning-A-0.json"]


def test_a_cell_that_always_fails_does_not_hold_back_the_other_methods(engines: None, tmp_path: Path):
    settings = TINY | {"ewc_stiffness": 1e39}
    with pytest.raises(ApdError, match=r"1 of 2 cells failed: ewc-A-0 \(.*diverged.*\)\. .* --methods"):
        benchmark("digits", str(tmp_path), methods=["finetuning", "ewc"], orders=["A"], settings=settings)
    table = Results(str(tmp_path)).read("table.md").decode()
    assert "| finetuning |" in table
    assert "| ewc |" not in table
    assert "--methods finetuning --orders A" in table
