"""The lock: complete, pinned, with digests, and without a word of where packages come from."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra import lock

ROOT = Path(__file__).parents[2]

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def pins():
    return lock.locked()


def test_every_requirement_is_pinned_to_a_version_it_admits(pins):
    for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]:
        requirement = Requirement(text)
        version = re.match(r"[^=]+==([^ \\\n]+)", pins[canonicalize_name(requirement.name)])[1]
        assert version in requirement.specifier, f"{text} is locked at {version}"


def test_the_command_needs_nothing_of_the_tests():
    runtime = lock.parse(lock.RUNTIME.read_text())
    wanted = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    assert wanted <= set(runtime)
    assert "pytest" not in runtime


def test_pins_carry_digests_all_but_torch(pins):
    bare = [name for name, lines in pins.items() if "--hash=sha256:" not in lines]
    assert bare == ["torch"]


@pytest.mark.parametrize("file", [lock.RUNTIME, lock.DEVELOPMENT], ids=lambda file: file.name)
def test_no_place_is_named(file):
    text = file.read_text()
    assert "://" not in text
    assert not re.search(r"--(?:extra-)?index|--find-links| @ |/", text)


def test_no_package_of_one_torch_build(pins):
    assert [name for name in pins if name.startswith(lock.CUDA_ONLY) or name == "triton"] == []
    assert "+" not in pins["torch"]


def test_parse_splits_pins():
    text = "# comment\n-r other.lock\na==1 ; python_version < '3.13' \\\n    --hash=sha256:00\nb==2\n"
    assert lock.parse(text) == {"a": "a==1 ; python_version < '3.13' \\\n    --hash=sha256:00\n", "b": "b==2\n"}
