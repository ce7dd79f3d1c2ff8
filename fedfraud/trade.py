"""What the banks' validation payments come to in the trade's own terms: alerts, cards and cents a day and alert budget.

All of it is integers that add up over banks. A budget is one bank's: k alerts a day and k cards a day, for each bank.
The alerts of a day are its k payments with the highest scores, whichever card's; an alert that is a fraud is a hit, and
it stops its own payment and no other. The cards alerted are the k with the highest maximum score of the day; one with
a fraud on that day is found, and left out on the days after it (Le Borgne et al. 2022, chapter 4).
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

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

Integers = NDArray[np.int64]


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
    """One bank's figures or the sum of all banks': `counts` under every one of ALERT_BUDGETS, and for each replicate
    `histograms` (replicates, 2, bins) of legitimate payments and of frauds, and counts under HEADLINE_BUDGET alone."""

    counts: TradeCounts
    histograms: Integers
    replicates: TradeCounts
