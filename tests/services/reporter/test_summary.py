"""What follows from the facts by arithmetic, with numbers that one can check in the head."""

from typing import Any

import pytest

from fedfraud import wire
from fedfraud.metrics import CurvePoint
from services.reporter.facts import RunFacts
from services.reporter.fold import Facts
from services.reporter.summary import curve
from tests.services.reporter.journals import (
    FINAL,
    OF_PAYMENTS,
    PREPARING,
    STOPPED,
    TRAINING,
    Journal,
    scores,
    two_banks,
    with_central,
)
from tests.services.reporter.states import PLAN

# 1,000 rows and 20 frauds: 5 alerts hit 4, 10 hit 6, 100 hit 15.
POINTS = (
    CurvePoint(0.0, 5, 4, 3.0),
    CurvePoint(-1.0, 10, 6, 6.0),
    CurvePoint(-2.0, 100, 15, 16.0),
    CurvePoint(-20.0, 1000, 20, 21.0),
)


def test_a_threshold_has_precision_recall_and_alerts_a_thousand_rows() -> None:
    facts = curve(POINTS)
    assert facts is not None
    second = facts.points[1]
    assert (second.alerts, second.hits, second.false_alerts, second.expected_hits) == (10, 6, 4, 6.0)
    assert (second.alerts_per_thousand, second.precision, second.recall) == (10.0, 0.6, 0.3)
    assert facts.points[0].probability == 0.5
    assert [point.logit for point in facts.points] == [0.0, -1.0, -2.0, -20.0]


def test_a_budget_takes_the_most_alerts_that_are_within_it() -> None:
    facts = curve(POINTS)
    assert facts is not None
    assert [(budget.budget_per_thousand, budget.alerts) for budget in facts.budgets] == [(5.0, 5), (10.0, 10)]


def test_calibration_compares_what_the_model_expects_with_what_there_is() -> None:
    facts = curve(POINTS)
    assert facts is not None
    bands = [(band.rows, band.expected_rate, band.observed_rate) for band in facts.calibration]
    assert bands == [(10, 0.6, 0.6), (90, 10 / 90, 9 / 90), (900, 5 / 900, 5 / 900)]


def test_rows_of_one_class_have_no_curve() -> None:
    assert curve((CurvePoint(0.0, 10, 0, 1.0),)) is None
    assert curve((CurvePoint(0.0, 10, 10, 9.0),)) is None
    assert curve(()) is None


def test_totals_add_up_rounds_contributions_bytes_and_missing_answers() -> None:
    journal = Journal().started().opened(1, ["bank-01", "bank-02"]).accepted(1, "bank-01", size=80)
    journal.void(1, 1, ["bank-01"], "too few").opened(2, ["bank-01"]).accepted(2, "bank-01", size=80)
    run = journal.committed(2, 1, ["bank-01"], TRAINING).finished().facts()
    totals = run.totals
    assert (totals.rounds_committed, totals.rounds_void, totals.training_rounds) == (1, 1, 1)
    assert (totals.contributions, totals.bytes, totals.answers_missing, totals.seconds) == (2, 160, 1, 1.75)
    assert [(r.contributions, r.bytes) for r in run.rounds] == [(1, 80), (1, 80)]


@pytest.mark.parametrize(("precision", "ahead"), [(0.65, "federated"), (0.75, "central"), (0.7, "neither")])
def test_federated_and_central_are_compared_at_the_printed_precision(precision: float, ahead: str) -> None:
    run = with_central(two_banks().facts(), precision)
    assert run.final.against_central is not None
    assert run.final.against_central.ahead == ahead
    assert round(run.final.against_central.by, 6) == round(abs(0.7 - precision), 6)
    assert two_banks().facts().final.against_central is None


@pytest.mark.parametrize(
    ("precision", "ahead", "by"),
    [(0.7004, "neither", 0.0), (0.6996, "neither", 0.0), (0.70051, "central", 0.001), (0.69949, "federated", 0.001)],
)
def test_the_difference_to_central_is_that_of_the_printed_figures(precision: float, ahead: str, by: float) -> None:
    against = with_central(two_banks().facts(), precision).final.against_central
    assert against is not None
    assert (against.ahead, against.by) == (ahead, by)


def test_why_an_uplift_is_not_known_is_said_when_the_run_has_ended() -> None:
    both = ["bank-01", "bank-02"]
    journal = Journal().started(rounds=1).opened(1, both).accepted(1, "bank-01", alone=0.5)
    journal.void(1, 2, ["bank-01"], "1 answered, 2 are needed")
    journal.entries[-1].round_void.segments[:] = wire.segments_to_proto(FINAL)
    facts = Facts()
    for entry in journal.entries:
        facts.apply(entry)
    going_on = facts.completed()
    assert going_on is not None
    assert [bank.no_uplift for bank in going_on.banks] == [None, None]
    ended = journal.finished().facts()
    assert {bank.no_uplift for bank in ended.banks} == {"the final round, in which banks compare, had no result"}
    assert [bank.no_uplift for bank in two_banks().facts().banks] == [None, None]


def test_without_a_hold_out_a_bank_that_says_nothing_may_have_rows_that_define_nothing() -> None:
    seats = ["bank-01", "bank-02"]
    journal = Journal().started(rounds=1).opened(1, seats).accepted(1, "bank-01", row_count=900, fraud_rate=0.0)
    journal.accepted(1, "bank-02", row_count=900, fraud_rate=0.1)
    run = journal.committed(1, 2, seats, FINAL, pooled=scores(0.5)).finished().facts()
    assert [bank.no_uplift for bank in run.banks] == [
        "no frauds among the bank's validation rows, so average precision is not defined there",
        "not disclosed, or a single class among the bank's validation rows",
    ]


def of_payments(**disclosed: Any) -> RunFacts:  # noqa: ANN401  # any figures
    """Two banks with payments, of which bank-01 discloses both figures, and bank-02 these; all rounds committed."""
    seats = ["bank-01", "bank-02"]
    journal = Journal().started(rounds=1, plan=PLAN).opened(1, seats).committed(1, 0, seats, PREPARING)
    journal.opened(2, seats).committed(2, 1, seats, pooled=scores(0.1)).opened(3, seats)
    journal.accepted(3, "bank-01", alone=0.3, federated=0.4).accepted(3, "bank-02", **disclosed)
    return journal.committed(3, 2, seats, OF_PAYMENTS, pooled=scores(0.4)).finished().facts()


@pytest.mark.parametrize(
    ("disclosed", "why"),
    [
        ({}, "not disclosed, or a single class among the bank's validation rows"),
        # Frauds on other days of the plan say nothing of the test week.
        (
            {"row_count": 400, "fraud_rate": 0.0025},
            "not disclosed, or a single class among the bank's validation rows",
        ),
        (
            {"row_count": 400, "fraud_rate": 0.0},
            "no frauds among the bank's validation rows, so average precision is not defined there",
        ),
        (
            {"row_count": 400, "fraud_rate": 0.005, "alone_holdout": 0.3, "federated_holdout": 0.4},
            "a single class among the bank's validation rows, so average precision is not defined there",
        ),
    ],
)
def test_a_final_round_over_payments_is_the_one_in_which_banks_compare(disclosed: dict[str, float], why: str) -> None:
    assert [bank.no_uplift for bank in of_payments(**disclosed).banks] == [None, why]


def test_a_run_that_ended_before_its_final_round_says_so() -> None:
    journal = Journal().started(rounds=2, plan=PLAN).opened(1, ["bank-01"]).committed(1, 1, ["bank-01"], TRAINING)
    early = journal.finished(STOPPED, "an operator stopped it").facts()
    assert [bank.no_uplift for bank in early.banks] == ["the run ended before the final round, in which banks compare"]


def test_who_gains_and_who_loses_is_counted_and_how_different_banks_are_is_spread() -> None:
    run = two_banks().facts()
    assert (run.final.banks_compared, run.final.banks_gaining, run.final.banks_losing) == (2, 1, 1)
    assert run.final.uplift is not None
    assert (round(run.final.uplift.best, 6), round(run.final.uplift.worst, 6)) == (0.15, -0.2)
    rows, rate = run.heterogeneity.rows, run.heterogeneity.fraud_rate
    assert rows is not None
    assert rate is not None
    assert (rows.least, rows.mean, rows.most, rows.ratio, rows.count) == (2000, 3000, 4000, 2.0, 2)
    assert (rate.least, rate.most, rate.ratio) == (0.025, 0.05, 2.0)
