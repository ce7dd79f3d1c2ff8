"""Figures of the trade come back from the wire as they were, or are refused."""

from dataclasses import replace

import numpy as np
import pytest

from fedfraud.errors import Invalid
from fedfraud.feature_plan import PLANS
from fedfraud.fixed_point import Segment
from fedfraud.manifest import Manifest
from fedfraud.masking_wire import task_sha256
from fedfraud.recipe import recipe_named
from fedfraud.trade import USUAL_TERMS, TradeTerms
from fedfraud.trade_metrics import BudgetFigures
from fedfraud.trade_wire import terms_from_proto, terms_to_proto, trade_from_proto, trade_to_proto
from fedfraud.transactions import SCHEMAS
from fedfraud.v1 import federation_pb2, history_pb2, model_pb2
from fedfraud.wire import recipe_to_proto, segments_to_proto
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


@pytest.mark.parametrize("message", [history_pb2.RunStarted, federation_pb2.RoundInstruction])
def test_terms_come_back_and_the_usual_ones_stay_unset(
    message: type[history_pb2.RunStarted | federation_pb2.RoundInstruction],
) -> None:
    for terms in (USUAL_TERMS, TradeTerms((5, 25), 25, 999)):
        told = message(trade_terms=terms_to_proto(terms))
        assert told.HasField("trade_terms") == (terms != USUAL_TERMS)
        assert terms_from_proto(message.FromString(told.SerializeToString())) == terms
    with pytest.raises(Invalid, match=r"^alert budgets must be 1 to 10, got 0$"):
        terms_from_proto(message(trade_terms=model_pb2.TradeTerms()))


def test_a_bank_that_is_told_other_terms_signs_another_task_and_the_usual_ones_change_none() -> None:
    manifest = Manifest("cards", SCHEMAS["cards"], feature_plan=PLANS["cards"])
    asked = federation_pb2.RoundInstruction(
        recipe=recipe_to_proto(recipe_named("cards")),
        segments=segments_to_proto((Segment.EVALUATE, Segment.TRADE)),
        round_count=1,
        counters_sha256=bytes(32),
    )
    usual = task_sha256(asked, manifest, recipe_named("cards"), None)
    seen = {usual}
    for terms in (TradeTerms((5, 10), 10), TradeTerms((5, 10), 5), TradeTerms((5, 10), 5, 300)):
        asked.ClearField("trade_terms")
        asked.MergeFrom(federation_pb2.RoundInstruction(trade_terms=terms_to_proto(terms)))
        seen.add(task_sha256(asked, manifest, recipe_named("cards"), None))
    assert len(seen) == 4
    asked.ClearField("trade_terms")
    assert task_sha256(asked, manifest, recipe_named("cards"), None) == usual
