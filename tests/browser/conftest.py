"""One headless browser for all tests; without Chromium they are skipped together, by name."""

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from playwright.sync_api import Browser

from tests.browser.browser import CHROMIUM, chromium


@pytest.fixture(scope="session")
def browser(lacking: Callable[[str], NoReturn]) -> Iterator[Browser]:
    """Chromium without a window."""
    if CHROMIUM is None:
        lacking("chromium: the live page was not tried in a browser")
    with chromium() as started:
        yield started


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tests that lack the browser are one line together."""
    report = yield
    if report.when == "setup" and report.skipped and isinstance(report.longrepr, tuple):
        report.longrepr = (str(Path(__file__)), 0, report.longrepr[2])
    return report
