"""pip's configuration reaches uv with pip's meaning."""

import os
import subprocess
import sys
from pathlib import Path

from infra import pip_sources

ROOT = Path(__file__).parents[2]


def test_the_environment_wins_over_a_command_over_all_commands():
    listing = ":env:.find-links='/a'\nglobal.find-links='/c'\ninstall.find-links='/b'\n"
    assert pip_sources.settings(listing) == {"find-links": "/a"}
    assert pip_sources.settings(listing.replace(":env:.find-links='/a'\n", "")) == {"find-links": "/b"}


def test_values_of_several_lines():
    assert pip_sources.settings(r"global.extra-index-url='\nfile:///a\nfile:///b'") == {
        "extra-index-url": "file:///a file:///b"
    }


def test_settings_uv_has_no_use_for_are_left_out():
    assert pip_sources.settings("global.no-cache-dir='true'\nfreeze.index-url='file:///x'\n") == {}


def test_several_folders_are_separated_as_uv_wants_them():
    assert pip_sources.exports({"find-links": "/a /b"}, {}) == ["export UV_FIND_LINKS=/a,/b"]


def test_extra_indexes_are_chosen_from_as_pip_does():
    assert pip_sources.exports({"extra-index-url": "file:///a"}, {}) == [
        "export UV_INDEX=file:///a",
        "export UV_INDEX_STRATEGY=unsafe-best-match",
    ]


def test_what_the_user_told_uv_stays():
    assert pip_sources.exports({"find-links": "/a"}, {"UV_FIND_LINKS": "/b"}) == []


def test_values_are_quoted_for_the_shell():
    assert pip_sources.exports({"find-links": "/a b;c"}, {}) == ["export UV_FIND_LINKS='/a,b;c'"]


def test_as_a_command(tmp_path):
    configuration = tmp_path / "pip.conf"
    configuration.write_text("[global]\nindex-url = file:///mirror\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    has_pip = Path(sys.base_prefix) / "bin" / "python3"  # an environment made by infra/setup has none of its own
    command = [has_pip, ROOT / "infra" / "pip_sources.py"]
    printed = subprocess.run(
        command, env=environment | {"PIP_CONFIG_FILE": str(configuration)}, capture_output=True, text=True, check=True
    ).stdout
    assert "export UV_DEFAULT_INDEX=file:///mirror" in printed
