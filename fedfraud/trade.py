"""What the banks' validation payments come to in the trade's own terms: alerts, cards and cents a day and alert budget.

All of it is integers that add up over banks. A budget is one bank's: k alerts a day and k cards a day, for each bank.
The alerts of a day are its k payments with the highest scores, whichever card's; an alert that is a fraud is a hit, and
it stops its own payment and no other. The cards alerted are the k with the highest maximum score of the day; one with
a fraud on that day is found, and left out on the days after it (Le Borgne et al. 2022, chapter 4).
"""

import re
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from fedfraud.errors import Invalid

ALERT_BUDGETS = (5, 10, 20, 50, 100)
"""Alerts, and cards, that a bank can look at in a day."""
HEADLINE_BUDGET = 10
"""The one whose figures have an interval."""
ADMIN_CENTS = 250
"""What an alert costs, right or wrong: an assumption of 2.50 euro."""
REPLICATES = 200
"""Bootstrap replicates by card: each bank draws how often each of its cards counts, Poisson(1)."""
REPLICATE_BINS = 512
"""Score bins of a replicate's histograms."""

LEAST_BUDGET, MOST_BUDGET = 5, 10_000
"""Alerts a day. Budgets are as far apart as the smallest is large: the difference of two tells of no fewer payments."""
MOST_BUDGETS = 10
MOST_ADMIN_CENTS = 1_000_000

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class TradeTerms:
    """What a run's figures of the trade are for: its budgets of alerts a day and bank, the one whose figures have an
    interval, and the cents that an alert costs. All banks of a run have the same."""

    budgets: tuple[int, ...] = ALERT_BUDGETS
    headline: int = HEADLINE_BUDGET
    admin_cents: int = ADMIN_CENTS

    def __post_init__(self) -> None:
        steps = [after - before for before, after in zip((0, *self.budgets), self.budgets, strict=False)]
        for rule, held, value in (
            (f"alert budgets must be 1 to {MOST_BUDGETS}", 1 <= len(self.budgets) <= MOST_BUDGETS, len(self.budgets)),
            (
                f"alert budgets must rise by {LEAST_BUDGET} or more each, from {LEAST_BUDGET} on",
                min(steps, default=LEAST_BUDGET) >= LEAST_BUDGET,
                list(self.budgets),
            ),
            (
                f"an alert budget must be at most {MOST_BUDGET}",
                max(self.budgets, default=0) <= MOST_BUDGET,
                self.budgets,
            ),
            (
                f"the headline budget must be one of {', '.join(map(str, self.budgets))}",
                self.headline in self.budgets,
                self.headline,
            ),
            (
                f"the cost of an alert must be 1 to {MOST_ADMIN_CENTS} cents",
                1 <= self.admin_cents <= MOST_ADMIN_CENTS,
                self.admin_cents,
            ),
        ):
            if not held:
                raise Invalid(f"{rule}, got {value}")


USUAL_TERMS = TradeTerms()


def terms_of(budgets: str, headline: str = "", admin_cents: str = "") -> TradeTerms:
    """Of what somebody wrote: budgets separated by commas; what is empty is as usual."""
    if not re.fullmatch(r"([0-9]{1,6}(,[0-9]{1,6})*)?", budgets):
        raise Invalid(f"alert budgets must be numbers, separated by commas, got {budgets[:80]!r}")
    for name, written in (("a headline budget", headline), ("the cost of an alert", admin_cents)):
        if not re.fullmatch(r"[0-9]{0,7}", written):
            raise Invalid(f"{name} must be a whole number, got {written[:80]!r}")
    return TradeTerms(
        tuple(int(budget) for budget in budgets.split(",")) if budgets else USUAL_TERMS.budgets,
        int(headline) if headline else USUAL_TERMS.headline,
        int(admin_cents) if admin_cents else USUAL_TERMS.admin_cents,
    )


class DayField(IntEnum):
    """What a day of validation payments comes to, whatever the budget."""

    PAYMENTS = 0
    FRAUDS = 1
    CENTS = 2
    FRAUD_CENTS = 3
    CARDS = 4
    FRAUD_CARDS = 5


class BudgetField(IntEnum):
    """What one budget comes to on one day; FRAUD_CARDS_LEFT are those that were not found on a day before."""

    ALERTS = 0
    HITS = 1
    STOPPED_CENTS = 2
    CARDS_ALERTED = 3
    CARDS_FOUND = 4
    FRAUD_CARDS_LEFT = 5


@dataclass(frozen=True)
class TradeCounts:
    """`days` (…, days, day fields) and `budgets` (…, days, budgets, budget fields)."""

    days: Integers
    budgets: Integers


@dataclass(frozen=True)
class Trade:
    """One bank's figures or the sum of all banks': `counts` under every budget of the run, and for each replicate
    `histograms` (replicates, 2, bins) of legitimate payments and of frauds, and counts under the headline one alone."""

    counts: TradeCounts
    histograms: Integers
    replicates: TradeCounts
