"""`apd up` and `apd down` on a laptop."""

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
