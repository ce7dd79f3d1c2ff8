"""Figures of the trade to wire and back; what comes from wire is checked."""

from dataclasses import asdict, fields
from typing import TypeVar

import numpy as np

from fedfraud.errors import Invalid
from fedfraud.trade import USUAL_TERMS, BudgetField, DayField, TradeCounts, TradeTerms
from fedfraud.trade_metrics import BudgetFigures, RankFigures, TradeFigures
from fedfraud.v1 import federation_pb2, history_pb2, model_pb2

_DAY = {
    DayField.PAYMENTS: "payment_count",
    DayField.FRAUDS: "fraud_count",
    DayField.CENTS: "cents",
    DayField.FRAUD_CENTS: "fraud_cents",
    DayField.CARDS: "card_count",
    DayField.FRAUD_CARDS: "fraud_card_count",
}
_BUDGET = {
    BudgetField.ALERTS: "alert_count",
    BudgetField.HITS: "hit_count",
    BudgetField.STOPPED_CENTS: "stopped_cents",
    BudgetField.CARDS_ALERTED: "alerted_card_count",
    BudgetField.CARDS_FOUND: "found_card_count",
    BudgetField.FRAUD_CARDS_LEFT: "left_fraud_card_count",
}
_RANKS = ("rank", "rank_low", "rank_high")
_BUDGETS = ("budget", "budget_low", "budget_high")


def terms_to_proto(terms: TradeTerms) -> model_pb2.TradeTerms | None:
    """None for the usual ones, which stay unset: they are not part of what older journals hash."""
    if terms == USUAL_TERMS:
        return None
    return model_pb2.TradeTerms(budgets=terms.budgets, headline_budget=terms.headline, admin_cents=terms.admin_cents)


def terms_from_proto(message: history_pb2.RunStarted | federation_pb2.RoundInstruction) -> TradeTerms:
    """What a run or a round is told to go by; every number of it is held to its range."""
    if not message.HasField("trade_terms"):
        return USUAL_TERMS
    told = message.trade_terms
    return TradeTerms(tuple(told.budgets), told.headline_budget, told.admin_cents)


def trade_to_proto(trade: TradeFigures) -> model_pb2.Trade:
    """See TradeFigures; None stays unset."""
    told = model_pb2.Trade(
        headline_budget=trade.headline_budget, admin_cents=trade.admin_cents, replicate_count=trade.replicate_count
    )
    for day, spent in zip(trade.counts.days.tolist(), trade.counts.budgets.tolist(), strict=True):
        added = told.days.add(**{name: day[field] for field, name in _DAY.items()})
        for budget, one in zip(trade.budgets, spent, strict=True):
            added.budgets.add(budget=budget, **{name: one[field] for field, name in _BUDGET.items()})
    for name in (*_RANKS, *_BUDGETS):
        known = {key: value for key, value in asdict(getattr(trade, name)).items() if value is not None}
        kind = model_pb2.RankFigures if name in _RANKS else model_pb2.BudgetFigures
        getattr(told, name).CopyFrom(kind(**known))
    return told


def trade_from_proto(told: model_pb2.Trade) -> TradeFigures:
    """Unset becomes None. Every day must have the same rising budgets, the headline one among them."""
    listed = {tuple(spent.budget for spent in day.budgets) for day in told.days}
    budgets = next(iter(listed), ())
    if len(listed) != 1 or told.headline_budget not in budgets or list(budgets) != sorted(set(budgets)):
        raise Invalid(
            f"figures of the trade must have one list of rising budgets, {told.headline_budget} among them, "
            f"got {sorted(listed)}"
        )
    counts = TradeCounts(
        np.array([[getattr(day, name) for name in _DAY.values()] for day in told.days], np.int64),
        np.array(
            [[[getattr(one, name) for name in _BUDGET.values()] for one in day.budgets] for day in told.days], np.int64
        ),
    )
    return TradeFigures(
        counts,
        rank=_figures(RankFigures, told.rank),
        rank_low=_figures(RankFigures, told.rank_low),
        rank_high=_figures(RankFigures, told.rank_high),
        budget=_figures(BudgetFigures, told.budget),
        budget_low=_figures(BudgetFigures, told.budget_low),
        budget_high=_figures(BudgetFigures, told.budget_high),
        replicate_count=told.replicate_count,
        budgets=budgets,
        headline_budget=told.headline_budget,
        admin_cents=told.admin_cents,
    )


_Kind = TypeVar("_Kind", RankFigures, BudgetFigures)


def _figures(kind: type[_Kind], told: model_pb2.RankFigures | model_pb2.BudgetFigures) -> _Kind:
    names = [field.name for field in fields(kind)]
    return kind(**{name: getattr(told, name) for name in names if told.HasField(name)})  # type: ignore[arg-type]  # a field's name
