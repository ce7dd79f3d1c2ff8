"""The terms of a run's figures of the trade: what they may be."""

import pytest

from fedfraud.errors import Invalid
from fedfraud.trade import ADMIN_CENTS, ALERT_BUDGETS, HEADLINE_BUDGET, USUAL_TERMS, TradeTerms


def test_the_usual_terms_are_in_range() -> None:
    assert TradeTerms(ALERT_BUDGETS, HEADLINE_BUDGET, ADMIN_CENTS) == USUAL_TERMS


@pytest.mark.parametrize(
    ("budgets", "headline", "admin_cents", "sentence"),
    [
        ((), 10, 250, "alert budgets must be 1 to 10, got 0"),
        (tuple(range(5, 60, 5)), 10, 250, "alert budgets must be 1 to 10, got 11"),
        ((1, 10), 10, 250, "alert budgets must rise by 5 or more each, from 5 on, got \\[1, 10\\]"),
        ((5, 9), 5, 250, "alert budgets must rise by 5 or more each, from 5 on, got \\[5, 9\\]"),
        ((10, 5), 5, 250, "alert budgets must rise by 5 or more each, from 5 on, got \\[10, 5\\]"),
        ((10, 10_001), 10, 250, "an alert budget must be at most 10000, got "),
        ((5, 20), 10, 250, "the headline budget must be one of 5, 20, got 10"),
        ((5, 10), 10, 0, "the cost of an alert must be 1 to 1000000 cents, got 0"),
        ((5, 10), 10, 1_000_001, "the cost of an alert must be 1 to 1000000 cents, got 1000001"),
    ],
)
def test_terms_that_tell_of_too_few_payments_or_make_no_sense_are_refused(
    budgets: tuple[int, ...], headline: int, admin_cents: int, sentence: str
) -> None:
    with pytest.raises(Invalid, match=f"^{sentence}"):
        TradeTerms(budgets, headline, admin_cents)
