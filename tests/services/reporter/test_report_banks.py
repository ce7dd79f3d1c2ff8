"""What the report says of banks: who gains, who loses, of whom it is not known and why, and who never came."""

from typing import Any

import pytest

from services.reporter import model_card
from tests.services.reporter.journals import FINAL, Journal, scores, two_banks
from tests.services.reporter.reports import render, sections
from tests.services.reporter.states import texts


def test_the_bank_that_loses_is_named_in_the_summary_the_risks_and_the_next_steps() -> None:
    parts = sections(render(two_banks().facts()))
    assert "1 gains by the federation (bank-01); **1 loses by it: bank-02 (-0.200)**" in parts["Executive summary"]
    assert "worse than the bank's own, on the bank's rows, for bank-02 (-0.200)." in parts["Risks"]
    assert "Let bank-02 use the bank's own model" in parts["Next steps"]
    assert "| bank-02 | 2,000 | 5.00 % | 0.800 | 0.600 | -0.200 | 0.800 | 0.700 |" in parts["Executive summary"]


def test_a_loss_that_the_hold_out_contradicts_asks_for_more_rows_first() -> None:
    journal = two_banks().disclosing("bank-02", alone_holdout=0.4)
    steps = sections(render(journal.facts()))["Next steps"]
    assert "Measure bank-02 on more rows" in steps
    assert "own model" not in steps


def test_a_federation_that_is_worse_than_being_alone_says_so() -> None:
    journal = two_banks()
    assert "do better alone" not in render(journal.facts())
    journal.disclosing(federated_holdout=0.15)
    risks = sections(render(journal.facts()))["Risks"]
    assert "On average the banks do better alone: federated minus alone is -0.400 in average precision on the" in risks


def test_banks_without_a_comparison_are_told_apart_by_the_answers_that_were_missing() -> None:
    four = [f"bank-{number:02d}" for number in (1, 2, 3, 4)]
    journal = Journal().started(rounds=1).opened(1, four)
    journal.committed(1, 1, ["bank-01", "bank-02", "bank-03"], holdout=scores(0.5)).opened(2, four[:3])
    journal.accepted(2, "bank-01", alone=0.4, federated=0.5).accepted(2, "bank-02", federated=0.5)
    journal.committed(2, 2, ["bank-01", "bank-02"], FINAL, holdout=scores(0.5)).finished()
    assert (
        "Not known whether bank-02 gains: no time to train alone in the final round, or not disclosed; "
        "whether bank-03 gains: no answer in the final round, in which banks compare; "
        "whether bank-04 gains: not asked in the final round, in which banks compare."
    ) in sections(render(journal.facts()))["Risks"]


def test_a_bank_whose_rows_define_no_comparison_is_told_apart_from_one_that_is_silent() -> None:
    journal = Journal().started(rounds=1).opened(1, ["bank-01", "bank-02", "bank-03"])
    hidden: dict[str, Any] = {
        "alone_holdout": 0.1,
        "federated_holdout": 0.7,
    }  # and nothing on its own rows, which have one fraud
    journal.accepted(1, "bank-01", row_count=1000, fraud_rate=0.001, **hidden).accepted(1, "bank-02", **hidden)
    journal.accepted(1, "bank-03").committed(1, 2, ["bank-01", "bank-02", "bank-03"], FINAL, holdout=scores(0.7))
    risks = sections(render(journal.finished().facts()))["Risks"]
    assert (
        "Not known whether bank-01 gains: no frauds among the bank's validation rows, so average precision is not "
        "defined there; whether bank-02 gains: a single class among the bank's validation rows, so average precision "
        "is not defined there; whether bank-03 gains: not disclosed."
    ) in risks


def test_who_gains_who_loses_who_is_as_before_and_who_is_unknown_add_up_to_the_banks() -> None:
    figures = {"01": (0.5, 0.6), "02": (0.5, 0.7), "03": (0.5, 0.5004), "04": (0.5, 0.4996), "05": (0.6, 0.5)}
    seats = [f"bank-{number}" for number in (*figures, "06")]
    journal = Journal().started(rounds=1).opened(1, seats)
    for number, (alone, federated) in figures.items():
        journal.accepted(1, f"bank-{number}", alone=alone, federated=federated)
    run = journal.accepted(1, "bank-06").committed(1, 2, seats, FINAL, holdout=scores(0.7)).finished().facts()
    final = run.final
    assert (final.banks_gaining, final.banks_unchanged, final.banks_losing, final.banks_uncompared) == (2, 2, 1, 1)
    assert (
        "Of 5 banks that disclose both figures on own rows, 2 gain by the federation (bank-02, bank-01); 2 are as "
        "before at the printed precision (bank-03, bank-04); **1 loses by it: bank-05 (-0.100)**; of 1 it is not known "
        "(bank-06)."
    ) in render(run)


def test_banks_that_disclose_nothing_are_dashes_and_nobody_is_said_to_gain() -> None:
    journal = Journal().started(rounds=1).opened(1, ["bank-01", "bank-02"])
    facts = journal.committed(1, 1, ["bank-01", "bank-02"], holdout=scores(0.5)).finished().facts()
    text = render(facts)
    assert "| bank-01 | – | – | – | – | – | – | – |" in text
    assert "Nobody can say of any bank whether it gains on its own rows: the run ended before the final round" in text
    assert "No bank discloses how" not in text
    assert "can disclose how" not in text, "nobody is asked for what there was no time to compute"
    assert "Not known whether bank-01, bank-02 gain: the run ended before" in text


def test_banks_are_asked_for_what_they_may_have_kept_to_themselves_alone() -> None:
    journal = Journal().started(rounds=1).opened(1, ["bank-01", "bank-02"])
    journal.accepted(1, "bank-01", row_count=900, fraud_rate=0.0).accepted(1, "bank-02", row_count=900, fraud_rate=0.1)
    journal.committed(1, 2, ["bank-01", "bank-02"], FINAL, holdout=scores(0.5)).finished()
    parts = sections(render(journal.facts()))
    assert "Ask whether bank-02 can disclose how it fares alone and federated." in parts["Next steps"]
    assert (
        "Nobody can say of any bank whether it gains on its own rows. Not known whether bank-01 gains: no frauds among "
        "the bank's validation rows, so average precision is not defined there; whether bank-02 gains: not disclosed."
    ) in parts["Executive summary"]
    silent = Journal().started(rounds=1).opened(1, ["bank-01"]).accepted(1, "bank-01")
    silent.committed(1, 2, ["bank-01"], FINAL, holdout=scores(0.5)).finished()
    assert "No bank discloses how it fares alone and federated on its own rows, so nobody" in render(silent.facts())


def test_a_loss_that_the_hold_out_denies_is_measured_again_and_no_condition_to_stay_alone() -> None:
    journal = two_banks().disclosing("bank-02", alone_holdout=0.4)
    summary = sections(render(journal.facts()))["Executive summary"]
    assert "- A loss on own rows, bank-02 (-0.200), is measured on more rows: the hold-out denies it." in summary
    assert "keeps its own model" not in summary


def test_banks_that_do_better_alone_are_a_reason_not_to_deploy() -> None:
    journal = two_banks().disclosing(federated_holdout=0.1)
    assert "**do not deploy**, as on average the banks do as well or better alone." in render(journal.facts())


@pytest.mark.parametrize(
    ("expected", "answer", "said"),
    [
        (1, ["bank-01", "bank-02"], "2 of 2 banks took part; "),
        (3, ["bank-01", "bank-02"], "2 of 3 expected banks took part; "),
        (3, ["bank-01"], "1 of 3 expected banks took part, 2 were asked; "),
    ],
)
def test_banks_that_were_expected_and_never_came_are_counted(expected: int, answer: list[str], said: str) -> None:
    journal = Journal().started(rounds=1).opened(1, ["bank-01", "bank-02"])
    journal.entries[0].run_started.expected_bank_count = expected
    for seat in answer:
        journal.accepted(1, seat)
    run = journal.committed(1, 1, answer, holdout=scores(0.5)).finished().facts()
    assert said in sections(render(run))["Executive summary"]


def test_banks_that_never_answered_are_no_part_of_what_was_learned() -> None:
    seats = ["bank-01", "bank-02", "bank-03"]
    journal = Journal().started(rounds=1).opened(1, seats).accepted(1, "bank-01", alone=0.4, federated=0.5)
    run = journal.committed(1, 1, ["bank-01"], holdout=scores(0.5)).finished().facts()
    text = render(run)
    assert "1 of 3 banks took part; population tutorial" in text
    assert "In all 1 contribution and 0.00 megabytes, of 1 bank; keys" in text
    assert "It was trained by federated averaging at 1 bank in 1 training round" in model_card.render(
        run, logit_adjustment=False
    )
    assert texts(run)["summary.rounds"].endswith("3 banks were asked to take part.")
    assert texts(run)["summary.most"].startswith("Of the banks that compare, none gains more by the federation than")
    assert "Of 1 bank that discloses both figures on own rows, 1 gains by the federation (bank-01)" in text
