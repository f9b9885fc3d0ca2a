"""infra/ray-cluster.yaml and the image, as Ray's own launcher takes them; its command lines are recorded, not run."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private import command_runner
from ray.autoscaler._private.commands import _set_up_config_for_head_node
from ray.autoscaler._private.providers import _get_default_config
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.node_provider import NodeProvider

INFRA = Path(__file__).parents[2] / "infra"
PACKAGES = {"ssh": "openssh-client", "rsync": "rsync"}
"""Debian's package of each program that Ray's launcher may call."""

NVIDIA = b"map[nvidia:{nvidia-container-runtime [] <nil>} runc:{runc [] <nil>}]"


class Machine:
    """In place of `subprocess`: a machine on which no container runs yet."""

    def __init__(self, runtimes: bytes = b"map[runc:{runc [] <nil>}]") -> None:
        self.lines: list[str] = []
        self.answers = {"command -v docker": b"/usr/bin/docker", "Config.Env": b'["PATH=/app/.venv/bin"]'}
        self.answers |= {".State.Running": b"false", ".Runtimes": runtimes, "printenv HOME": b"~"}

    def check_call(self, command: list[str], *_: Any, **__: Any) -> None:
        self.lines.append(" ".join(command))

    def check_output(self, command: list[str], *_: Any, **__: Any) -> bytes:
        self.lines.append(line := " ".join(command))
        return next((answer for asked, answer in self.answers.items() if asked in line), b"")


class Machines(NodeProvider):
    """Machines whose names are their addresses."""

    def external_ip(self, node_id: str) -> str:
        return node_id

    def internal_ip(self, node_id: str) -> str:
        return node_id


@pytest.fixture
def config() -> dict[str, Any]:
    return prepare_config(yaml.safe_load((INFRA / "ray-cluster.yaml").read_text()))


def launched(config: dict[str, Any], machine: Machine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the command lines by which the head's container is started and given its files."""
    monkeypatch.setitem(command_runner._config, "silent_rsync", False)
    head, provider = config["provider"]["head_ip"], Machines(config["provider"], "apd")
    config, file = _set_up_config_for_head_node(config, provider, no_restart=False)
    settings = (config["auth"], config["cluster_name"], machine, True, config["docker"])
    runner = provider.get_command_runner("", head, *settings)
    for remote, local in config["file_mounts"].items():
        runner.run_rsync_up(local, remote)
    runner.run_init(as_head=True, file_mounts=config["file_mounts"], sync_run_yet=True)
    file.close()
    return machine.lines


def of_image() -> set[str]:
    """Return the Debian packages that the project's image installs."""
    _, stage = (INFRA / "Dockerfile").read_text().split(" AS apd\n")
    return set(re.findall(r"--no-install-recommends (.+) \\\n", stage)[0].split())


def test_ray_takes_it_and_keeps_all_machines(config: dict[str, Any]):
    validate_config(config)
    [machines] = config["available_node_types"].values()
    assert machines["min_workers"] == machines["max_workers"] == len(config["provider"]["worker_ips"])


def test_the_image_has_what_is_called_in_it(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    lines = launched(config, Machine(), monkeypatch)
    by_the_head = {line.split()[0] for line in lines}  # it calls for the other machines what is called for it
    assert by_the_head == {"ssh", "rsync"}
    assert any(re.search("rsync -e .*docker exec -i", line) for line in lines)
    assert {PACKAGES[program] for program in by_the_head} <= of_image()


def test_the_head_gets_a_key_to_the_other_machines(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    lines = launched(config, Machine(), monkeypatch)
    assert any("ray_bootstrap_key.pem apd:" in line for line in lines)
    assert all(f"-i {config['auth']['ssh_private_key']}" in line for line in lines)


def test_the_container_sees_the_gpus_of_a_machine_that_has_some(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    [started] = [line for line in launched(config, Machine(NVIDIA), monkeypatch) if "docker run" in line]
    assert "--runtime=nvidia" in started
    assert "--env NVIDIA_VISIBLE_DEVICES=all" in started


def test_it_can_be_brought_up_again(config: dict[str, Any]):
    """As Ray's own commands begin, which ours stand in for."""
    usual = _get_default_config(config["provider"])
    for kind in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert config[kind][0] == usual[kind][0] == "ray stop"
