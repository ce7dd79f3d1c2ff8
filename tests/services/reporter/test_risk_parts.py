"""What left the banks, what the model is of, what nobody can say, and when to look again, with a run's own figures."""

from services.reporter import grounding, risk_parts
from services.reporter.document import Block, Document
from services.reporter.fact_table import table
from services.reporter.facts import RunFacts
from tests.services.reporter.journals import FAILED, Journal, two_banks
from tests.services.reporter.states import CURVE, of_payments


def said(run: RunFacts, blocks: list[Block]) -> str:
    """Every text of the part as it is printed, a line each."""
    facts = table(run)
    return "\n".join(grounding.fill(text, facts) for text in Document("", tuple(blocks)).texts())


def privacy(run: RunFacts) -> str:
    return said(run, risk_parts.privacy(run, table(run)))


def data(run: RunFacts) -> str:
    return said(run, risk_parts.data(run, table(run)))


def test_what_left_the_banks_is_said_for_both_modes() -> None:
    plain, secure = (privacy(two_banks(secure=secure).facts()) for secure in (False, True))
    assert "left plainly, over mutual TLS: the aggregator saw each bank's integers" in plain
    assert "left under masks that cancel in the sum alone" in secure
    for text in (plain, secure):
        assert "\ntrain\n" in text
        assert "A round needed the contributions of at least 1 of 2 expected banks" in text
        assert "In all 2 contributions and 0.00 megabytes, of 2 banks" in text
    assert "expected banks; 0 answers were missing" in plain
    assert "expected banks, and began with 4 or more; 0 answers were missing" in secure


def test_of_a_feature_table_rows_are_told_and_that_nobody_knows_of_when_they_are() -> None:
    text = data(two_banks().facts())
    assert "Public hold-out: 1,000 rows, 20 of them fraud, prevalence 0.0200." in text
    assert "Rows a bank: 2,000 to " in text
    assert "The population tutorial is made up; it stands for no bank's customers." in text
    assert "Not known from the journal: the period of the rows" in text


def test_of_payments_the_period_is_told_and_of_which_days_a_banks_figures_are() -> None:
    text = data(of_payments())
    assert "Not known from the journal" not in text
    assert "Rows a bank" not in text
    assert "Validation leaves out payments of cards that are known as compromised by then." in text


def test_a_run_without_a_sum_says_nothing_of_training_rows() -> None:
    assert "Training: " not in data(Journal().started().finished(FAILED).facts())


def test_with_payments_errors_are_broken_down_by_day_and_by_nothing_else() -> None:
    plain, payments = two_banks().facts(), of_payments()
    assert "amount or hour: rows carry no such columns to the aggregator." in said(plain, risk_parts.limits(plain))
    assert "amount or hour, only by day." in said(payments, risk_parts.limits(payments))


def test_alerts_are_looked_at_again_beyond_30_percent_either_way_of_the_middle_budget() -> None:
    run = two_banks(curve=CURVE).facts()
    text = said(run, risk_parts.monitoring(run))
    assert (
        "At the threshold for 5 alerts in 1,000 transactions there are fewer than 3.5 or more than 6.5 alerts" in text
    )
    assert "1,000 transactions (30 % either way)" in text
    without = two_banks().facts()
    assert "The volume of alerts swings by more than 30 %." in said(without, risk_parts.monitoring(without))


def test_a_model_that_was_not_measured_has_no_precision_to_fall_below() -> None:
    run = Journal().started().finished(FAILED).facts()
    assert "Average precision on reviewed transactions" not in said(run, risk_parts.monitoring(run))
