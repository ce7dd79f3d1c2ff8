"""An aggregator killed while a closed round's files go and the next round is open: a few points of all."""

from pathlib import Path

import pytest

from tests.faults.campaign import chosen
from tests.faults.forgetting import CAMPAIGN


@pytest.mark.timeout(300)
def test_an_aggregator_killed_while_it_takes_files_away_loses_nothing_and_leaves_none(tmp_path: Path) -> None:
    for number in chosen(CAMPAIGN.trials(), CAMPAIGN.short):
        CAMPAIGN.trial(number, tmp_path / str(number))
