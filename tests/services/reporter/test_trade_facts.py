"""Figures of the trade as facts: what adds up, and what lies within its interval."""

import pytest

from services.reporter.trade_facts import Estimate, trade_facts
from tests.fedfraud.trades import figures
from tests.services.reporter.journals import OF_PAYMENTS, Journal, scores


def test_days_add_up_to_the_total_and_the_headline_budget_to_its_own() -> None:
    facts = trade_facts(figures())
    assert [day.day for day in facts.days] == [1, 2, 3]
    assert facts.total.payments == sum(day.payments for day in facts.days) == 1_200
    assert facts.total.fraud_euro == pytest.approx(sum(day.fraud_euro for day in facts.days))
    headline = next(budget for budget in facts.budgets if budget.budget == facts.headline_budget)
    for name in ("alerts", "hits", "false_alarms", "alerted_cards", "found_cards", "fraud_cards"):
        assert getattr(headline, name) == sum(getattr(day.headline, name) for day in facts.days), name
    assert headline.alerts == headline.hits + headline.false_alarms == 2 * 3 * 10  # two banks, three days
    assert headline.stopped_euro == pytest.approx(sum(day.headline.stopped_euro for day in facts.days))
    assert headline.card_precision == pytest.approx(sum(day.headline.card_precision or 0 for day in facts.days) / 3)
    for name, estimate in facts.headline:
        assert estimate.value == getattr(headline, name), name


def test_more_alerts_catch_more_and_cost_precision() -> None:
    facts = trade_facts(figures())
    assert [budget.budget for budget in facts.budgets] == [5, 10, 20, 50, 100]
    recalls = [budget.recall or 0 for budget in facts.budgets]
    assert recalls == sorted(recalls)
    assert facts.budgets[0].precision > facts.budgets[-1].precision  # type: ignore[operator]  # both known
    assert facts.admin_euro == 2.5


def test_a_figure_lies_in_its_interval() -> None:
    facts = trade_facts(figures())
    rank = facts.rank
    estimates = [estimate for _, estimate in facts.headline]
    estimates += [rank.average_precision, rank.roc_auc, rank.brier, rank.calibration]
    estimates += [one for each in rank.alert_rates for one in (each.recall, each.precision)]
    estimates += [each.recall for each in rank.false_alarm_rates]
    assert len(estimates) == 7 + 4 + 2 * 3 + 2
    for estimate in estimates:
        assert isinstance(estimate, Estimate)
        assert estimate.low is not None
        assert estimate.low <= estimate.value <= estimate.high  # type: ignore[operator]  # all known
    assert [each.rate for each in rank.alert_rates] == [0.001, 0.005, 0.01]
    assert [each.rate for each in rank.false_alarm_rates] == [0.01, 0.05]
    assert facts.interval_share == 0.95


def test_the_final_rounds_figures_stand_with_the_final_model_and_others_have_none() -> None:
    journal = Journal().started(rounds=0).opened(1, ["bank-01"])
    run = journal.committed(1, 1, ["bank-01"], OF_PAYMENTS, scores(0.4), trade=figures()).finished().facts()
    assert run.final.trade == trade_facts(figures())
    assert run.rounds[0].segments == ["evaluate", "trade"]
    assert run.from_json(run.to_json()) == run
    journal = Journal().started(rounds=0).opened(1, ["bank-01"])
    assert journal.committed(1, 1, ["bank-01"], pooled=scores(0.4)).finished().facts().final.trade is None
