"""A start on a bad disk says in one line what is wrong, and leaves nothing that the next start would trip over."""

from pathlib import Path

import pytest

from tests.faults.campaign import chosen
from tests.faults.small_disk import fill, free, small_disk
from tests.faults.starts import CAMPAIGN, refused, serves_until_it_is_killed

pytestmark = pytest.mark.timeout(300)


def test_a_start_on_a_bad_disk_ends_with_one_clear_line_and_after_that_or_a_kill_the_next_one_serves(
    tmp_path: Path,
) -> None:
    for number in chosen(CAMPAIGN.trials(), CAMPAIGN.short):
        CAMPAIGN.trial(number, tmp_path / str(number))


def test_a_start_on_a_disk_that_is_really_full_ends_with_one_clear_line_on_a_new_folder_and_on_an_old_one(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with small_disk(data, 4):
        fill(data)
        refused(tmp_path)
        free(data)
        serves_until_it_is_killed(tmp_path)
        fill(data)
        refused(tmp_path)
        free(data)
        serves_until_it_is_killed(tmp_path)
