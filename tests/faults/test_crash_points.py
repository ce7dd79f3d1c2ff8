"""An aggregator that is killed in the middle of making something durable: some of the points, others each minute."""

from pathlib import Path

import pytest

from tests.faults.campaign import chosen
from tests.faults.crash_points import CAMPAIGN

pytestmark = pytest.mark.timeout(600)


def test_an_aggregator_killed_at_any_durable_call_loses_nothing_and_makes_the_same_model(tmp_path: Path) -> None:
    for number in chosen(CAMPAIGN.trials(), CAMPAIGN.short):
        CAMPAIGN.trial(number, tmp_path / str(number))
