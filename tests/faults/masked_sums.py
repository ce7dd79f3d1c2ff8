"""The protocol of masked sums with banks leaving at every stage, in one process: the exact sum, or a clean abort."""

from pathlib import Path

from tests.faults.campaign import Campaign
from tests.fedfraud.test_masking_sum import check

CASES = 100
"""Of one trial."""


def trial(number: int, folder: Path) -> None:
    """So many drawn cases, others in each trial."""
    check(CASES, number)


CAMPAIGN = Campaign(
    "masked-sums",
    "4 to 32 banks, any of them leaving at any stage: the exact sum of the survivors, or a clean abort",
    lambda: 50,
    0,
    trial,
)
