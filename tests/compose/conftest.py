"""Starts the network in containers once a session, and takes all of it away again, whatever happened."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.compose.network import BANKS, Network
from tests.compose.running import last_words, running


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """Aggregator, ten banks and reporter, enrolled and on their first run."""
    with running(BANKS) as present:
        yield present


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows the end of every container's log; tests that lack the engine are one line together."""
    report = yield
    if report.when == "setup" and report.skipped and isinstance(report.longrepr, tuple):
        report.longrepr = (str(Path(__file__)), 0, report.longrepr[2])
    network = getattr(item, "funcargs", {}).get("network")
    if report.failed and isinstance(network, Network):
        report.sections.append(("containers", last_words(network)))
    return report
