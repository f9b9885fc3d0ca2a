"""What `pip install` would install: complete, and usable far from the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

CODE = """
import sys
from importlib.util import find_spec
from apd.config import StreamConfig
from apd.overview import build_report
from apd.report.page import html
from apd.store import Stream
import flows.cli
stream = Stream.create(sys.argv[1], StreamConfig((1, 28, 28)))
print(find_spec("apd").origin, find_spec("flows").origin)
print("<style>" in html(build_report(stream, stream.head())))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files, made from a copy of the sources: building leaves traces beside them."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    for folder in ("apd", "flows"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(place)], cwd=source, check=True, capture_output=True)
    [wheel] = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "installed")
    return place / "installed"


def test_every_source_and_every_part_of_the_report_is_in_it(installed: Path):
    for folder in ("apd", "flows"):
        sources = {str(file.relative_to(ROOT)) for file in (ROOT / folder).rglob("*.py")}
        assert sources == {str(file.relative_to(installed)) for file in (installed / folder).rglob("*.py")}
    others = {file for file in (ROOT / "apd").rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc")}
    assert {file.name for file in others} == {"page.html", "style.css"}
    assert all((installed / file.relative_to(ROOT)).read_bytes() == file.read_bytes() for file in others)


def test_it_names_the_command(installed: Path):
    [info] = installed.glob("*.dist-info")
    assert "apd = flows.cli:main" in (info / "entry_points.txt").read_text()


def test_it_reports_on_a_stream_where_there_is_no_checkout(installed: Path, tmp_path: Path):
    ended = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "stream")],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [f"{installed}/apd/__init__.py {installed}/flows/__init__.py", "True"]
