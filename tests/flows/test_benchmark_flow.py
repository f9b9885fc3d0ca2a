"""A benchmark on a Ray that was started elsewhere."""

from pathlib import Path

import pytest

from flows.benchmark import benchmark

TINY = {"tasks": 2, "network": {"arguments": {"hidden": [16]}}, "learning": {"epochs": 1, "batch_size": 256}}


def test_a_relative_folder_of_results_is_where_the_flow_runs(
    engines: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    table, *_ = benchmark("digits", "results", methods=["finetuning"], orders=["A"], settings=TINY)
    assert Path(table).parent == tmp_path / "results"
    assert [file.name for file in (tmp_path / "results" / "cells").iterdir()] == ["finetuning-A-0.json"]
