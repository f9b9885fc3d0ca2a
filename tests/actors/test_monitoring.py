"""What a run leaves at the metrics ports of a real Ray's nodes, read as Prometheus reads it."""

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from apd.actors import metrics
from apd.store import Stream
from tests.actors import small
from tests.actors.conftest import learning, wait_until
from tests.conftest import ROOT

pytestmark = pytest.mark.usefixtures("nodes", "no_actor_left")


def documented() -> dict[str, set[str]]:
    """Names and tags in the table of the module's docstring."""
    rows = [re.split(" {2,}", line.strip()) for line in str(metrics.__doc__).splitlines() if "   apd_" in line]
    return {row[0]: set(row[3].split(", ")) for row in rows}


def served(stream: str) -> Iterator[Sample]:
    """What all nodes serve of the stream now."""
    for node in ray.nodes():
        if node["Alive"]:
            url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
            with urllib.request.urlopen(url, timeout=10) as answer:
                for family in text_string_to_metric_families(answer.read().decode()):
                    yield from (one for one in family.samples if one.labels.get("stream") == stream)


def test_a_run_is_seen_at_the_metrics_ports_as_the_table_says(holding: Path, tmp_path: Path) -> None:
    stream = Stream.create(str(tmp_path / "watched"), small.config(small.held_network(holding, 1)))
    small.submit(stream, 0)
    found = dict[str, Sample]()

    def has_seen(*names: str) -> bool:
        found.update({one.name.removeprefix("ray_").removesuffix("_count"): one for one in served(stream.url)})
        return found.keys() >= set(names)

    with learning(stream):
        wait_until(lambda: has_seen("apd_steps_per_second", "apd_samples_per_second", "apd_tau_density"))
        wait_until(lambda: has_seen("apd_waiting_tasks"))
        while_held = dict(found)
        holding.rmdir()
    assert while_held["apd_waiting_tasks"].value == 1
    assert while_held["apd_steps_per_second"].value > 0
    samples, batch = while_held["apd_samples_per_second"], stream.config.learning.batch_size
    assert samples.value == pytest.approx(batch * while_held["apd_steps_per_second"].value)
    assert samples.labels["task"] == "task-0"
    wait_until(lambda: has_seen(*documented()) and found["apd_waiting_tasks"].value == 0)
    for name, tags in documented().items():
        assert tags <= found[name].labels.keys()
    assert found["apd_tau_density"].value == 0  # a first task trains sigma
    assert found["apd_commit_seconds"].value >= 1  # Ray was seen to serve one observation as four
    assert found["apd_commit_seconds"].labels["kind"] == "learn"


def test_every_name_is_in_the_operators_guide() -> None:
    guide = (ROOT / "infra" / "README.md").read_text()
    assert [name for name in documented() if f"ray_{name}" not in guide] == []
