"""What tests of contributions' files begin with: a folder of vectors that is ready, and the thread that writes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.aggregator.vectors import Vectors
from services.aggregator.writer import Writer


@pytest.fixture
def vectors(tmp_path: Path) -> Vectors:
    found = Vectors(tmp_path)
    found.prepare()
    return found


@pytest_asyncio.fixture
async def writer() -> AsyncIterator[Writer]:
    found = Writer()
    yield found
    found.close()
