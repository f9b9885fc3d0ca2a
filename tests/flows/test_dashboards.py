"""What the artifacts in Prefect's UI say, from the stream alone."""

from itertools import product
from pathlib import Path

import pytest
from prefect import flow, get_client

from apd.errors import TaskRefused
from apd.learner import Learner
from apd.overview import build_report, growth
from apd.report.content import Report
from flows.dashboards import capacity_note, capacity_rows, cluster_rows, headline, progress_bar, sharing, stream_page
from flows.names import artifact_key, stream_key
from tests.flows.small_tasks import create
from tests.overview.small_streams import SHARING, learner, noise, samples


@pytest.fixture(scope="module")
def made() -> Learner:
    """Three tasks, a consolidation, a fourth task, and a fifth that was refused."""
    learner_ = learner(4, **SHARING, min_gain=0.1)
    with pytest.raises(TaskRefused):
        learner_.learn("noise", noise())
    return learner_


@pytest.fixture(scope="module")
def report(made: Learner) -> Report:
    return build_report(made.stream, made.stream.head())


def test_tasks_and_streams_named_alike_have_bars_of_their_own(prefect: None, tmp_path: Path):
    streams = [create(tmp_path / place / "named-alike") for place in ("one", "other")]

    @flow
    def work() -> None:
        for percent, (stream, task) in enumerate(product(streams, ("a-b", "a.b", "a_b"))):
            progress_bar(stream, task)(float(percent))

    work()
    with get_client(sync_client=True) as client:
        wanted = {"artifacts": {"key": {"like_": "progress-named-alike-%"}}}
        bars = client.request("POST", "/artifacts/latest/filter", json=wanted).json()
    assert sorted(bar["data"] for bar in bars) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert f"progress-{stream_key(streams[0].url)}-a-b" in [bar["key"] for bar in bars]


def test_a_long_table_of_versions_says_that_it_is_cut():
    assert capacity_note(1006) == f"{capacity_note(100)} The newest 100 of 1,006 versions; the report draws all."


def test_capacity_and_drift_are_told_version_by_version_the_newest_first(made: Learner):
    rows = capacity_rows(growth(made.stream, made.stream.head()))
    assert [(row["version"], row["made by"], row["tasks"]) for row in rows] == [
        *((5, "learn", 4), (4, "consolidate", 3), (3, "learn", 3), (2, "learn", 2), (1, "learn", 1))
    ]
    assert [row["change"][0] for row in rows] == ["+", "−", "+", "+", "–"]  # noqa: RUF001 as wide as a plus sign
    assert [row["version"] for row in rows if row["drift"] not in ("–", "0")] == [4]  # noqa: RUF001


def test_a_refit_is_told_from_clusters_and_said_before_it_comes():
    young = learner(2, **SHARING, refit=True)
    content = build_report(young.stream, young.stream.head())
    next_one = "- next consolidation: after 1 more task, when sigma is learned again from all tasks so far"
    assert next_one in stream_page(young.stream, content, "").splitlines()

    young.learn("task-2", samples(2, classes=2))
    head = young.stream.head()
    content = build_report(young.stream, head)
    assert content.consolidations[0].refit
    assert [row["made by"] for row in capacity_rows(growth(young.stream, head))] == ["refit", *["learn"] * 3]
    assert {row["cluster"] for row in cluster_rows(content)} == {"none"}
    assert sharing(content) == "Version 4 has no clusters: beside sigma, no tasks share parameters."
    assert "- next consolidation: after 3 more tasks" in stream_page(young.stream, content, "").splitlines()


def test_every_layer_has_its_clusters(report: Report):
    rows = cluster_rows(report)
    assert {row["layer"] for row in rows} == {layer.name for layer in report.layers}
    shared = [row for row in rows if row["cluster"] != "none"]
    assert shared
    assert all(row["tasks"] == "task-0, task-1, task-2" for row in shared)


def test_the_page_says_first_what_needs_a_decision_then_where_everything_is(made: Learner, report: Report):
    page = stream_page(made.stream, report, "reports/00000005.html")
    lines = page.splitlines()
    assert lines[2] == "- waiting to be learned: **0**"
    assert lines[3].startswith("- **refused**: noise: has ")
    assert lines[3].endswith(
        f"demanded ([how to go on](../key/{artifact_key('refused', stream_key(made.stream.url))}))"
    )
    assert lines[4] == "- next consolidation: after 2 more tasks"
    assert "[capacity and drift](../key/capacity-" in lines[5]
    assert lines[6] == "- report: `reports/00000005.html`"
    assert lines[7] == f"- version 5: `{made.stream.history.where(5)}`"
    assert "| task-3 |" in page
    assert "Test accuracy right after learning, now. tau: " in page


def test_the_line_on_its_card_counts_what_needs_a_decision(made: Learner, report: Report):
    line = headline(made.stream, report)
    assert line.startswith("Version 5: 4 tasks, ")
    assert line.endswith(" % on average, 1 refused.")
