"""Deployment files are what the tools that read them expect; no container engine or cluster is needed to know."""

import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from prefect.settings.models.server.services import ServerServicesDBVacuumSettings
from ray.autoscaler._private.kuberay import autoscaling_config

from flows.operations.services import MEMORY

ROOT = Path(__file__).parents[2]

INFRA = ROOT / "infra"
SCRIPTS = sorted(
    file
    for file in [*INFRA.rglob("*"), ROOT / ".ci" / "run"]
    if file.is_file() and file.read_bytes().startswith(b"#!/usr/bin/env bash")
)


def passes(*command):
    tool, *arguments = map(str, command)
    ended = subprocess.run([Path(sys.executable).with_name(tool), *arguments], capture_output=True, text=True, cwd=ROOT)
    return ended.returncode == 0 or pytest.fail(ended.stdout + ended.stderr)


def documents(name):
    return list(yaml.safe_load_all((INFRA / name).read_text()))


def test_dockerfile():
    assert passes("hadolint", "infra/Dockerfile")


def test_servers_remove_old_runs(monkeypatch: pytest.MonkeyPatch):
    environment = documents("compose.yaml")[0]["services"]["prefect"]["environment"]
    assert MEMORY.items() <= environment.items()
    for name, value in MEMORY.items():
        monkeypatch.setenv(name, value)
    understood = ServerServicesDBVacuumSettings()
    assert understood.enabled_vacuum_types == {"events", "flow_runs", "orphans"}
    assert understood.retention_period == timedelta(days=30)


def test_compose():
    assert passes("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "infra/compose.yaml")


def test_yaml_is_tidy():
    assert passes("yamllint", "--strict", *sorted(INFRA.glob("*.yaml")), "prefect.yaml")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts(script):
    assert passes("shellcheck", script)
    assert script.stat().st_mode & 0o111, "not executable"


def test_kubernetes_resources():
    cluster, *resources = documents("kubernetes.yaml")
    pods = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    for number, group in enumerate(pods):
        resources.append({"apiVersion": "v1", "kind": "Pod", **group["template"]})
        resources[-1]["metadata"] = {"name": f"pod-{number}", **group["template"]["metadata"]}
    for resource in resources:
        kubernetes_validate.validate(resource, "1.34", strict=True)


def test_the_groups_that_the_flow_worker_announces_are_those_of_the_autoscaler():
    cluster, flows, *_ = documents("kubernetes.yaml")
    cluster["metadata"]["namespace"] = "default"
    node_types = autoscaling_config._derive_autoscaling_config_from_ray_cr(cluster)["available_node_types"]
    del node_types["headgroup"]
    [container] = flows["spec"]["template"]["spec"]["containers"]
    [text] = [one["value"] for one in container["env"] if one["name"] == "RAY_NODE_GROUPS"]
    announced = {group["name"]: (group["resources"], group["max_count"]) for group in json.loads(text)}
    assert announced == {name: (one["resources"], one["max_workers"]) for name, one in node_types.items()}


def test_every_file_runs_the_locked_ray():
    cluster = documents("kubernetes.yaml")[0]
    locked = re.search(r"^ray==(\S+)", (INFRA / "requirements.lock").read_text(), re.MULTILINE)
    assert cluster["spec"]["rayVersion"] == locked[1]


def test_images_are_those_of_the_dockerfile():
    text = (INFRA / "Dockerfile").read_text()
    built = set(re.findall(r"docker build .* -t (\S+)", text)) | {"apd:${APD_TORCH:-cpu}", "postgres:17-bookworm"}
    compose = {service["image"] for service in documents("compose.yaml")[0]["services"].values()}
    launcher = {documents("ray-cluster.yaml")[0]["docker"]["image"]}
    kubernetes = set(re.findall(r"image: (\S+)", (INFRA / "kubernetes.yaml").read_text()))
    assert compose | launcher | kubernetes <= built


def test_files_that_the_dockerfile_copies_exist():
    copied = re.findall(r"^COPY (?:--chown=\S+ )?(.+) \S+$", (INFRA / "Dockerfile").read_text(), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    assert [source for source in sorted(sources) if not (ROOT / source).exists()] == []


def test_secrets_are_asked_for_and_never_written():
    text = (INFRA / "compose.yaml").read_text()
    assert re.search(r"RAY_AUTH_TOKEN: \$\{RAY_AUTH_TOKEN:\?", text)
    assert re.search(r"POSTGRES_PASSWORD: \$\{POSTGRES_PASSWORD:\?", text)
    published = [
        port for service in documents("compose.yaml")[0]["services"].values() for port in service.get("ports", [])
    ]
    assert all(port.startswith("127.0.0.1:") for port in published)
