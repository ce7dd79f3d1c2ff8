"""Figures of the trade from summed integers: what a team finds within its alert budget, what that saves, how well
probabilities fit; with percentile intervals from bootstrap replicates by card.

Money by the cost matrix of Bahnsen et al. 2013: an alert costs ADMIN_CENTS, right or wrong, a fraud without one its
amount. All of them are None where the payments do not define them.
"""

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fedfraud.fixed_point import EvaluateCodec
from fedfraud.metrics import ALERT_RATES, Counts, average_precision, recall_at_alert_rate, roc_auc
from fedfraud.trade import (
    ADMIN_CENTS,
    ALERT_BUDGETS,
    HEADLINE_BUDGET,
    BudgetField,
    DayField,
    Integers,
    Trade,
    TradeCounts,
)

INTERVAL = (2.5, 97.5)
"""The percentiles of the replicates that an interval goes from and to."""
FALSE_ALARM_RATES = (0.01, 0.05)
"""Shares of the legitimate payments that are alerts."""
Figure = float | None


@dataclass(frozen=True)
class RankFigures:
    """How scores rank payments, and fit: from histograms, where payments of one bin are in random order.

    Rates of alerts and of false alarms are shares of all payments and of legitimate ones. `brier` takes each bin's
    middle for the probability. `calibration` is the frauds that the model expects for each that there is.
    """

    average_precision: Figure = None
    roc_auc: Figure = None
    recall_at_tenth_percent: Figure = None
    recall_at_half_percent: Figure = None
    recall_at_one_percent: Figure = None
    precision_at_tenth_percent: Figure = None
    precision_at_half_percent: Figure = None
    precision_at_one_percent: Figure = None
    recall_at_one_percent_false_alarms: Figure = None
    recall_at_five_percent_false_alarms: Figure = None
    brier: Figure = None
    calibration: Figure = None


@dataclass(frozen=True)
class BudgetFigures:
    """What a daily budget comes to. The two of cards are means over days, the others of all days together.

    `false_alarms_per_hit` counts alerts that are no fraud for each that is one. `savings` is 1 less the cost over that
    of the cheaper of no alerts at all and an alert on every payment.
    """

    card_precision: Figure = None
    card_recall: Figure = None
    precision: Figure = None
    recall: Figure = None
    false_alarms_per_hit: Figure = None
    value_detection_rate: Figure = None
    savings: Figure = None


@dataclass(frozen=True)
class TradeFigures:
    """Figures of all banks' validation payments together, those of the headline budget among them; `low` and `high` are
    the ends of intervals, and `counts` what all but the ranking follows from."""

    counts: TradeCounts
    rank: RankFigures
    rank_low: RankFigures
    rank_high: RankFigures
    budget: BudgetFigures
    budget_low: BudgetFigures
    budget_high: BudgetFigures
    replicate_count: int
    budgets: tuple[int, ...]
    headline_budget: int
    admin_cents: int = ADMIN_CENTS


def trade_figures(
    logits: NDArray[np.float64],
    legitimate: Counts,
    fraud: Counts,
    trade: Trade,
    budgets: tuple[int, ...] = ALERT_BUDGETS,
    headline_budget: int = HEADLINE_BUDGET,
    admin_cents: int = ADMIN_CENTS,
) -> TradeFigures:
    """Of the (bins,) counts of an evaluate segment, whose bins score (bins,) `logits`, and a trade segment under these
    budgets, an alert costing so much."""
    coarse, drawn = EvaluateCodec(trade.histograms.shape[-1]).centres(), trade.replicates
    ranks = [rank_figures(coarse, good, bad) for good, bad in trade.histograms]
    spent = [
        budget_figures(days, of_days[:, 0], admin_cents)
        for days, of_days in zip(drawn.days, drawn.budgets, strict=True)
    ]
    headline = trade.counts.budgets[:, budgets.index(headline_budget)]
    return TradeFigures(
        trade.counts,
        rank_figures(logits, legitimate, fraud),
        *_interval(RankFigures, ranks),
        budget_figures(trade.counts.days, headline, admin_cents),
        *_interval(BudgetFigures, spent),
        len(ranks),
        budgets,
        headline_budget,
        admin_cents,
    )


def rank_figures(logits: NDArray[np.float64], legitimate: Counts, fraud: Counts) -> RankFigures:
    """Of (bins,) legitimate and fraud counts, where (bins,) `logits` rise and are each bin's score."""
    frauds, payments = int(fraud.sum()), int(fraud.sum() + legitimate.sum())
    if not 0 < frauds < payments:
        return RankFigures()
    probability = np.exp(-np.logaddexp(0, -logits))
    expected = float(((fraud + legitimate) * probability).sum())
    recalls = [recall_at_alert_rate(legitimate, fraud, rate) for rate in ALERT_RATES]
    precisions = [
        min(1.0, recall * frauds / (rate * payments)) for recall, rate in zip(recalls, ALERT_RATES, strict=True)
    ]
    return RankFigures(
        average_precision=average_precision(legitimate, fraud),
        roc_auc=roc_auc(legitimate, fraud),
        recall_at_tenth_percent=recalls[0],
        recall_at_half_percent=recalls[1],
        recall_at_one_percent=recalls[2],
        precision_at_tenth_percent=precisions[0],
        precision_at_half_percent=precisions[1],
        precision_at_one_percent=precisions[2],
        recall_at_one_percent_false_alarms=recall_at_false_alarm_rate(legitimate, fraud, FALSE_ALARM_RATES[0]),
        recall_at_five_percent_false_alarms=recall_at_false_alarm_rate(legitimate, fraud, FALSE_ALARM_RATES[1]),
        brier=float((fraud * (1 - probability) ** 2 + legitimate * probability**2).sum() / payments),
        calibration=expected / frauds,
    )


def recall_at_false_alarm_rate(legitimate: Counts, fraud: Counts, rate: float) -> float:
    """The share of frauds that score above all but the `rate` of legitimate payments; the ROC curve at that point."""
    alarms = np.concatenate([[0], np.cumsum(legitimate[::-1])])
    hits = np.concatenate([[0], np.cumsum(fraud[::-1])])
    steps = np.flatnonzero(np.append(np.diff(alarms) > 0, True))  # of equal alarms the last: the most hits
    return float(np.interp(rate * alarms[-1], alarms[steps], hits[steps]) / hits[-1])


def budget_figures(days: Integers, budgets: Integers, admin_cents: int = ADMIN_CENTS) -> BudgetFigures:
    """Of (days, day fields) and one budget's (days, budget fields)."""
    day = {field: days[:, field] for field in DayField}
    spent = {field: budgets[:, field] for field in BudgetField}
    alerts, hits = int(spent[BudgetField.ALERTS].sum()), int(spent[BudgetField.HITS].sum())
    fraud_cents, stopped = int(day[DayField.FRAUD_CENTS].sum()), int(spent[BudgetField.STOPPED_CENTS].sum())
    return BudgetFigures(
        card_precision=_mean_share(spent[BudgetField.CARDS_FOUND], spent[BudgetField.CARDS_ALERTED]),
        card_recall=_mean_share(spent[BudgetField.CARDS_FOUND], spent[BudgetField.FRAUD_CARDS_LEFT]),
        precision=_share(hits, alerts),
        recall=_share(hits, int(day[DayField.FRAUDS].sum())),
        false_alarms_per_hit=_share(alerts - hits, hits),
        value_detection_rate=_share(stopped, fraud_cents),
        savings=savings(int(day[DayField.PAYMENTS].sum()), fraud_cents, alerts, stopped, admin_cents),
    )


def savings(payments: int, fraud_cents: int, alerts: int, stopped_cents: int, admin_cents: int) -> Figure:
    """1 less what alerts and frauds without one cost, over the cheaper of no alerts and an alert on every payment."""
    cheaper = min(fraud_cents, payments * admin_cents)
    cost = alerts * admin_cents + fraud_cents - stopped_cents
    return 1 - cost / cheaper if cheaper else None


def _share(part: int, whole: int) -> Figure:
    return part / whole if whole else None


def _mean_share(part: Integers, whole: Integers) -> Figure:
    """The mean over the days that have a share."""
    known = whole > 0
    return float((part[known] / whole[known]).mean()) if known.any() else None


_Figures = TypeVar("_Figures", RankFigures, BudgetFigures)


def _interval(kind: type[_Figures], drawn: list[_Figures]) -> tuple[_Figures, _Figures]:
    """The percentiles of each figure over the replicates that define it; None where they are fewer than half."""
    ends: tuple[dict[str, Figure], dict[str, Figure]] = {}, {}
    for field in fields(kind):
        known = [value for one in drawn if (value := getattr(one, field.name)) is not None]
        if known and 2 * len(known) >= len(drawn):
            for end, value in zip(ends, np.percentile(known, INTERVAL), strict=True):
                end[field.name] = float(value)
    return kind(**ends[0]), kind(**ends[1])
