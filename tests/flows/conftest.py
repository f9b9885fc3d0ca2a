"""A real Prefect server and a real Ray for all tests of flows, and a stream that they have learned."""

from collections.abc import Iterator

import pytest
from prefect.testing.utilities import prefect_test_harness

from apd.actors import cluster
from apd.store import Stream
from flows.run import run
from tests.flows.small_tasks import create, names, submit


@pytest.fixture(scope="session")
def prefect() -> Iterator[None]:
    """A Prefect server with an empty database."""
    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture(scope="session")
def engines(prefect: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Prefect, and one Ray that all flows of these tests share."""
    with cluster(str(tmp_path_factory.getbasetemp())):
        yield


@pytest.fixture(scope="session")
def learned(engines: None, tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """Three tasks, learned and consolidated by one `run`. To look at; change a copy."""
    stream = create(tmp_path_factory.mktemp("learned") / "digits")
    for number in range(3):
        submit(stream, number)
    assert run(stream.url) == names(3)
    return stream
