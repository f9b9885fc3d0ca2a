import pytest

from apd.report import page
from apd.report.content import Report
from tests.report import sample


@pytest.fixture(scope="session")
def report() -> Report:
    return sample.report(16)


@pytest.fixture(scope="session")
def html(report: Report) -> str:
    return page.html(report)


@pytest.fixture(scope="session")
def hostile() -> Report:
    return sample.report(len(sample.HOSTILE), names=sample.HOSTILE)
