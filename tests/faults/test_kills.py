"""Processes that are killed at random in a run: the aggregator, then banks."""

from pathlib import Path

import pytest

from tests.faults.campaign import Campaign, chosen
from tests.faults.kills import AGGREGATOR, BANK

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("campaign", [AGGREGATOR, BANK], ids=["the aggregator", "banks"])
def test_ten_kills_at_random_cost_nothing_that_was_acknowledged(campaign: Campaign, tmp_path: Path) -> None:
    for number in chosen(campaign.trials(), campaign.short):
        campaign.trial(number, tmp_path / str(number))
