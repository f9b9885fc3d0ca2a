"""`apd up` and `apd down` on a laptop."""

import json
import urllib.request

import pytest

pytestmark = pytest.mark.operations


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


def test_the_ui_asks_where_it_was_opened(installed):
    """Not an address of this machine, which means nothing to a browser on another one."""
    page = installed.environment["PREFECT_API_URL"].removesuffix("/api")
    with urllib.request.urlopen(f"{page}/ui-settings") as answer:
        assert json.load(answer)["api_url"] == "/api"
