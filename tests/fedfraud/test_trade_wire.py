"""Figures of the trade come back from the wire as they were, or are refused."""

from dataclasses import replace

import numpy as np
import pytest

from fedfraud.errors import Invalid
from fedfraud.trade_metrics import BudgetFigures
from fedfraud.trade_wire import trade_from_proto, trade_to_proto
from fedfraud.v1 import model_pb2
from tests.fedfraud.trades import figures


def test_figures_come_back_as_they_were() -> None:
    sent = figures()
    told = trade_from_proto(model_pb2.Trade.FromString(trade_to_proto(sent).SerializeToString()))
    assert np.array_equal(told.counts.days, sent.counts.days)
    assert np.array_equal(told.counts.budgets, sent.counts.budgets)
    assert replace(told, counts=sent.counts) == sent
    assert sent.budget_low.recall < sent.budget.recall < sent.budget_high.recall  # type: ignore[operator]  # all known


def test_what_is_not_known_is_unset() -> None:
    sent = trade_to_proto(replace(figures(), budget=BudgetFigures(precision=0.0)))
    assert not sent.budget.HasField("savings")
    assert trade_from_proto(sent).budget == BudgetFigures(precision=0.0)


def test_days_with_other_budgets_are_refused() -> None:
    sent = trade_to_proto(figures())
    headless, unlike, falling, empty = (model_pb2.Trade.FromString(sent.SerializeToString()) for _ in range(4))
    headless.headline_budget = 11
    del unlike.days[1].budgets[-1]
    for day in falling.days:
        day.budgets[0].budget = 70
    del empty.days[:]
    for wrong in (headless, unlike, falling, empty):
        with pytest.raises(Invalid, match=r"^figures of the trade must have one list of rising budgets, "):
            trade_from_proto(wrong)
