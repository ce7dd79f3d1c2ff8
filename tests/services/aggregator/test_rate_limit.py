"""A bucket of calls, by itself; the enrolment port's is tested over the wire in tests/federation."""

import pytest

from fedfraud.errors import TooLarge
from services.aggregator.rate_limit import RateLimit
from tests.federation.waiting import wait_for


def taken(limit: RateLimit) -> bool:
    try:
        limit.take()
    except TooLarge:
        return False
    return True


def test_three_calls_at_once_and_no_fourth() -> None:
    limit = RateLimit("calls", rate=1e-9, burst=3)
    assert [taken(limit) for _ in range(5)] == [True, True, True, False, False]
    with pytest.raises(TooLarge, match=r"^calls must be at most 1e-09 a second, got more; try again$"):
        limit.take()


def test_time_fills_the_bucket_again() -> None:
    limit = RateLimit("calls", rate=20, burst=1)
    assert taken(limit)
    assert not taken(limit)
    assert wait_for(lambda: taken(limit), "a twentieth of a second is over", 5.0)
