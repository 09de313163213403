"""For all tests: one thread each, and under CI a skip is a failure."""

import os
from collections.abc import Generator, Iterator

import pytest

from tests.seaweed import KEYS, Seaweed, seaweed

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip hides that something was not shown; CI has everything that the tests need."""
    report = yield
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, which CI=true forbids: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def seaweed_server() -> Iterator[Seaweed]:
    """A real S3 server for whoever asks; `weed` brings the keys along."""
    with seaweed() as server:
        yield server


@pytest.fixture(scope="module")
def weed(seaweed_server: Seaweed) -> Iterator[Seaweed]:
    """The real S3 server, with its keys in the environment of this module's tests alone."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in KEYS.items():
            environment.setenv(name, value)
        yield seaweed_server
