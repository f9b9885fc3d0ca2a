"""One installation as `apd up` makes it. Server, worker and Ray are real; every test has a stream of its own."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import IMPATIENT, ROOT, Installed, config, exported, run

from apd.data import NamedTask
from apd.data.digits import digits_tasks
from apd.store import Stream


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """`apd up`, then `apd down`."""
    home = tmp_path_factory.mktemp("up")
    before = {**IMPATIENT, "APD_HOME": str(home), "PYTHONPATH": str(ROOT)}
    try:
        printed = run("-c", "from flows.cli import main; main()", "up", environment=before).stdout
        yield Installed(home, before | exported(printed))
    finally:
        run("-c", "from flows.cli import main; main()", "down", environment=before)


def unique(place: Path) -> str:
    """Return a name for a stream of this test alone."""
    return "digits-" + re.sub(r"[^a-z0-9]+", "-", place.name.lower()).strip("-")


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    """An empty stream for small pictures of digits, learned in a second."""
    return Stream.create(str(tmp_path / unique(tmp_path)), config())


@pytest.fixture(scope="session")
def tasks() -> list[NamedTask]:
    return list(digits_tasks(4))


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """What trains a network that is `held` goes on to its end once this file exists."""
    return tmp_path / "gate"
