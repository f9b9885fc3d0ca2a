"""`apd up` and `apd down` on a laptop."""

import dataclasses
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from installation import ROOT, Installed

from apd.errors import ConfigError
from flows.operations import local
from flows.operations.services import PORTS, Installation

pytestmark = pytest.mark.operations


def deploy(installed: Installed, stream: str, *arguments: str) -> None:
    """Run infra/deploy for that stream."""
    variables = installed.environment | {"APD_STREAM": stream}
    variables["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run([ROOT / "infra" / "deploy", *arguments], env={**os.environ, **variables}, check=True)


def stream_of(installed: Installed) -> str:
    """Return the stream that is learned by the clock."""
    return installed.deployment("run/scheduled")["parameters"]["stream"]


def test_up_twice_changes_nothing(installed):
    before = {name: installed.service(name) for name in ("server", "ray", "worker")}
    deployed = installed.deployment("run/scheduled")["updated"]
    assert "Prefect" in installed.apd("up", "--stream", installed.environment["APD_STREAM"]).stdout
    assert {name: installed.service(name) for name in before} == before
    assert installed.deployment("run/scheduled")["updated"] == deployed


def test_up_with_other_settings_is_refused(installed):
    ended = installed.apd("up", "--stream", "s3://elsewhere/stream", check=False)
    assert ended.returncode == 1
    assert "is up with stream" in ended.stderr
    assert "apd down" in ended.stderr


def test_alerts_can_be_turned_on_while_it_is_up(installed):
    deployed = installed.deployment("run/scheduled")["updated"]
    installed.apd("up", "--notify", "http://127.0.0.1:9/alerts")
    alerts = [one for one in installed.api("POST", "/automations/filter", {}) if "alert" in one["name"]]
    [block] = {action["block_document_id"] for one in alerts for action in one["actions"]}
    assert installed.api("GET", f"/block_documents/{block}")["data"]["url"] == "http://127.0.0.1:9/alerts"
    assert installed.deployment("run/scheduled")["updated"] == deployed
    installed.api("DELETE", f"/block_documents/{block}")  # whoever deploys next finds nobody to notify


def test_deployments_are_taken_from_a_stream_or_pool_only_on_purpose(installed, tmp_path):
    mine, other = installed.environment["APD_STREAM"], str(tmp_path / "other")
    theirs = f"work on stream {mine} in work pool apd, not on"
    for option, value, asked in (
        ("--stream", other, f"{other} in work pool apd"),
        ("--pool", "b", f"{mine} in work pool b"),
    ):
        ended = installed.apd("prefect", "setup", option, value, check=False)
        assert ended.returncode == 1
        assert f"{theirs} stream {asked}; give" in ended.stderr
        assert "--replace" in ended.stderr
    assert [one["name"] for one in installed.api("POST", "/work_pools/filter", {})] == ["apd"]
    assert stream_of(installed) == mine
    deploy(installed, other, "--replace")
    assert stream_of(installed) == other
    deploy(installed, mine, "--replace")
    assert stream_of(installed) == mine


def test_a_password_of_the_database_is_not_said(installed):
    ended = installed.apd("up", "--database", "postgresql://user:secret@host/name", check=False)
    assert "is up with database None, not 'postgresql+asyncpg://user:***@host/name'" in ended.stderr
    ended = installed.apd("up", "--database", "mysql://user:secret@host/name", check=False)
    assert "--database 'mysql://user:***@host/name' should read like" in ended.stderr


def test_another_password_of_the_database_is_told_without_either():
    before = Installation("home", "stream", "apd", PORTS, "token", database="postgresql+asyncpg://user:first@host/name")
    after = dataclasses.replace(before, database="postgresql+asyncpg://user:second@host/name")
    with pytest.raises(
        ConfigError, match=r"database '.*://user:\*\*\*@host/name', but with another password; `apd down`"
    ):
        local._require_same(before, after)


def test_the_ui_asks_where_it_was_opened(installed):
    """Not an address of this machine, which means nothing to a browser on another one."""
    page = installed.environment["PREFECT_API_URL"].removesuffix("/api")
    with urllib.request.urlopen(f"{page}/ui-settings") as answer:
        assert json.load(answer)["api_url"] == "/api"
