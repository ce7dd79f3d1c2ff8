"""The final model in the trade's terms, as facts: by alert budget and by day, with intervals."""

from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

from fedfraud.metrics import ALERT_RATES
from fedfraud.trade import BudgetField, DayField, Integers
from fedfraud.trade_metrics import FALSE_ALARM_RATES, INTERVAL, BudgetFigures, RankFigures, TradeFigures, budget_figures
from services.reporter.part import Figure, Part


class Estimate(Part):
    """A figure and the ends of its interval: percentiles over bootstrap replicates by card; None where not known."""

    value: Figure = None
    low: Figure = None
    high: Figure = None


class AlertRateFacts(Part):
    """Where this share of all payments, those with the highest scores, are alerts."""

    rate: float
    recall: Estimate
    precision: Estimate


class FalseAlarmRateFacts(Part):
    """Where this share of the legitimate payments, those with the highest scores, are alerts."""

    rate: float
    recall: Estimate


class RankEstimates(Part):
    """How scores rank all banks' validation payments, and fit: `calibration` is the frauds that the model expects for
    each that there is; see `RankFigures` in model.proto."""

    average_precision: Estimate
    roc_auc: Estimate
    brier: Estimate
    calibration: Estimate
    alert_rates: list[AlertRateFacts]
    false_alarm_rates: list[FalseAlarmRateFacts]


class BudgetEstimates(Part):
    """What the headline budget comes to; see `BudgetFigures` in model.proto."""

    card_precision: Estimate
    card_recall: Estimate
    precision: Estimate
    recall: Estimate
    false_alarms_per_hit: Estimate
    value_detection_rate: Estimate
    savings: Estimate


class PaymentFacts(Part):
    """Validation payments of all banks, in all or on one day."""

    payments: int
    frauds: int
    euro: float
    fraud_euro: float


class AlertFacts(Part):
    """What one budget came to. `false_alarms` are alerts without a fraud; `found_cards` had a fraud on the day on which
    they were alerted, and `fraud_cards` are those that had one and were not found on a day before."""

    alerts: int
    hits: int
    false_alarms: int
    stopped_euro: float
    alerted_cards: int
    found_cards: int
    fraud_cards: int
    card_precision: float | None = None
    card_recall: float | None = None
    precision: float | None = None
    recall: float | None = None
    false_alarms_per_hit: float | None = None
    value_detection_rate: float | None = None
    savings: float | None = None


class TradeBudgetFacts(AlertFacts):
    """All days under one budget of alerts, and of cards, a day and bank."""

    budget: int


class TradeDayFacts(PaymentFacts):
    """One test day, from 1, and what the headline budget came to on it."""

    day: int
    cards: int
    headline: AlertFacts


class TradeFacts(Part):
    """All banks' validation payments together under the final model. A budget is of each bank: that many alerts and
    that many cards a day. An alert is taken to cost `admin_euro`; intervals hold `interval_share` of the replicates."""

    headline_budget: int
    admin_euro: float
    replicate_count: int
    interval_share: float
    day_count: int
    total: PaymentFacts
    rank: RankEstimates
    headline: BudgetEstimates
    budgets: list[TradeBudgetFacts]
    days: list[TradeDayFacts]


def trade_facts(trade: TradeFigures) -> TradeFacts:
    """The figures of a final round as facts."""
    days, spent = trade.counts.days, trade.counts.budgets
    place, admin = trade.budgets.index(trade.headline_budget), trade.admin_cents
    return TradeFacts(
        headline_budget=trade.headline_budget,
        admin_euro=admin / 100,
        replicate_count=trade.replicate_count,
        interval_share=(INTERVAL[1] - INTERVAL[0]) / 100,
        day_count=len(days),
        total=PaymentFacts(**_payments(days.sum(axis=0))),
        rank=_rank(_estimates(trade.rank, trade.rank_low, trade.rank_high)),
        headline=BudgetEstimates(**_estimates(trade.budget, trade.budget_low, trade.budget_high)),
        budgets=[
            TradeBudgetFacts(budget=budget, **_alerts(days, spent[:, number], admin))
            for number, budget in enumerate(trade.budgets)
        ],
        days=[
            TradeDayFacts(
                day=number + 1,
                cards=int(day[DayField.CARDS]),
                headline=AlertFacts(**_alerts(day[None], spent[number, place][None], admin)),
                **_payments(day),
            )
            for number, day in enumerate(days)
        ],
    )


def _rank(known: dict[str, Estimate]) -> RankEstimates:
    names = {"tenth": ALERT_RATES[0], "half": ALERT_RATES[1], "one": ALERT_RATES[2]}
    return RankEstimates(
        average_precision=known["average_precision"],
        roc_auc=known["roc_auc"],
        brier=known["brier"],
        calibration=known["calibration"],
        alert_rates=[
            AlertRateFacts(
                rate=rate, recall=known[f"recall_at_{name}_percent"], precision=known[f"precision_at_{name}_percent"]
            )
            for name, rate in names.items()
        ],
        false_alarm_rates=[
            FalseAlarmRateFacts(rate=rate, recall=known[f"recall_at_{name}_percent_false_alarms"])
            for name, rate in zip(("one", "five"), FALSE_ALARM_RATES, strict=True)
        ],
    )


def _payments(day: Integers) -> dict[str, Any]:
    return {
        "payments": int(day[DayField.PAYMENTS]),
        "frauds": int(day[DayField.FRAUDS]),
        "euro": int(day[DayField.CENTS]) / 100,
        "fraud_euro": int(day[DayField.FRAUD_CENTS]) / 100,
    }


def _alerts(days: Integers, budgets: Integers, admin_cents: int) -> dict[str, Any]:
    """Of (days, day fields) and (days, budget fields)."""
    total = np.asarray(budgets.sum(axis=0))
    alerts, hits = int(total[BudgetField.ALERTS]), int(total[BudgetField.HITS])
    return {
        "alerts": alerts,
        "hits": hits,
        "false_alarms": alerts - hits,
        "stopped_euro": int(total[BudgetField.STOPPED_CENTS]) / 100,
        "alerted_cards": int(total[BudgetField.CARDS_ALERTED]),
        "found_cards": int(total[BudgetField.CARDS_FOUND]),
        "fraud_cards": int(total[BudgetField.FRAUD_CARDS_LEFT]),
        **asdict(budget_figures(days, budgets, admin_cents)),
    }


_Kind = TypeVar("_Kind", RankFigures, BudgetFigures)


def _estimates(value: _Kind, low: _Kind, high: _Kind) -> dict[str, Estimate]:
    ends = asdict(low), asdict(high)
    return {
        name: Estimate(value=figure, low=ends[0][name], high=ends[1][name]) for name, figure in asdict(value).items()
    }
