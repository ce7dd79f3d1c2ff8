"""An aggregator that is killed in the middle of making something durable: some of the points, others each minute."""

from pathlib import Path

import pytest

from tests.faults import crash_points
from tests.faults.campaign import Campaign, chosen

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("campaign", [crash_points.PLAIN, crash_points.SECURE], ids=lambda campaign: campaign.name)
def test_an_aggregator_killed_at_any_durable_call_loses_nothing_and_makes_the_same_model(
    tmp_path: Path, campaign: Campaign
) -> None:
    for number in chosen(campaign.trials(), campaign.short):
        campaign.trial(number, tmp_path / str(number))
