"""A start on a bad disk says in one line what is wrong, and leaves nothing that the next start would trip over."""

from pathlib import Path

import pytest

from tests.faults.campaign import chosen
from tests.faults.starts import CAMPAIGN

pytestmark = pytest.mark.timeout(300)


def test_a_start_on_a_bad_disk_ends_with_one_clear_line_and_the_next_one_serves(tmp_path: Path) -> None:
    for number in chosen(CAMPAIGN.trials(), CAMPAIGN.short):
        CAMPAIGN.trial(number, tmp_path / str(number))
