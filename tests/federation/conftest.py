"""What tests of contributions share: each is tried on both ways in which what arrives may wait."""

import pytest

from services.aggregator import round_drive

pytest.register_assert_rewrite("tests.federation.outcomes")  # what fails there shows its values too


@pytest.fixture(params=["in memory", "in a file"])
def arriving(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small contributions wait in memory until they are whole, large ones in a file: the same must come of either."""
    if request.param == "in a file":
        monkeypatch.setattr(round_drive, "MEMORY_BYTES", 0)
