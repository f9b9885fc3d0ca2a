"""The Grafana dashboards ask for metrics that exist, and leave out none of ours."""

import ast
import json
import re
from typing import Any

import pytest
import yaml
from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

from tests.conftest import ROOT

FOLDER = ROOT / "infra" / "grafana"
BOARDS = ("apd", "apd-ray")
OF_RAYS_CORE = {"actors", "object_store_used_memory"}
"""Metrics that Ray's compiled part exports, seen on a running cluster; Python knows no list of them."""


def board(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


def asked(name: str) -> set[str]:
    """The metrics in the queries of a dashboard, without Ray's prefix and the suffixes of histograms."""
    queries = [target["expr"] for panel in board(name)["panels"] for target in panel["targets"]]
    found = {metric for query in queries for metric in re.findall(r"\bray_(\w+)", query)}
    return {re.sub(r"_(bucket|sum|count)$", "", metric) if metric.startswith("apd_") else metric for metric in found}


def declared() -> dict[str, set[str]]:
    """Our metrics with their tags' names, as `apd.actors.metrics` says them in its table."""
    text = ast.get_docstring(ast.parse((ROOT / "apd" / "actors" / "metrics.py").read_text())) or ""
    rows = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip().startswith("apd_")]
    return {row[0]: set(row[3].split(", ")) for row in rows}


def test_every_metric_of_ours_is_shown_and_no_other_is_asked_for():
    assert asked("apd") == set(declared())


def test_every_tag_that_is_grouped_by_is_one_of_the_metrics():
    for panel in board("apd")["panels"]:
        for target in panel["targets"]:
            [metric] = {name for name in declared() if name in target["expr"]}
            for tags in re.findall(r"by \(([^)]*)\)", target["expr"]):
                assert set(tags.split(", ")) - {"le"} <= declared()[metric]


def test_what_is_asked_of_ray_is_what_ray_exports():
    assert asked("apd-ray") <= set(METRICS_GAUGES) | OF_RAYS_CORE


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_can_be_imported_beside_the_others(name: str):
    content = board(name)
    assert content["uid"] == name
    panels = content["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels)


def test_prometheus_finds_the_nodes_where_ray_lists_them():
    [job] = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())["scrape_configs"]
    [discovery] = job["file_sd_configs"]
    assert discovery["files"] == ["/tmp/ray/prom_metrics_service_discovery.json"]
