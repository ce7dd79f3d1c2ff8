"""Sentences of the risks; those that the template prints are read in the tests of the report."""

from services.reporter.sentences.candidates import candidates
from tests.services.reporter.journals import FAILED, Journal, two_banks, with_central
from tests.services.reporter.states import STATES, texts, whole

MADE = texts(whole())


def test_a_model_that_got_worse_is_named_with_the_round_that_had_the_better_one() -> None:
    assert texts(STATES["fallen"])["risks.fallen"] == (
        "The last model (0.500) is worse than that of round 1 (0.700) in average precision."
    )


def test_a_hold_out_without_fraud_is_not_taken_for_what_measured_the_rounds() -> None:
    assert (
        "The last model (0.200) is worse than that of round 1 (0.500)"
        in (texts(STATES["a hold-out without fraud"])["risks.fallen"])
    )


def test_rows_in_one_place_and_false_alarms_have_their_figures() -> None:
    assert MADE["risks.central"].startswith(
        "A model of all rows in one place ranks better by 0.100 in average precision"
    )
    for precision in (0.6, 0.7003):
        made = texts(with_central(two_banks().facts(), precision))
        assert made["risks.central"].startswith(f"Central, with {precision:.3f} no better here, is no bound")
    assert "false alarms are 1 of 5 alerts" in MADE["risks.false_alarms"]
    assert "from 2.50 % to 5.00 %" in MADE["risks.sizes"]


def test_a_stuck_round_names_the_seats_that_it_waited_for_and_only_the_newest_must_be_chosen() -> None:
    assert texts(STATES["stuck"])["risks.stuck.1"] == (
        "Training round 1 was abandoned at stage consent, where answers were missing (bank-03, bank-04: no answer in "
        "time)."
    )
    journal = Journal().started()
    for number in (1, 2, 3, 4):
        journal.opened(number, ["bank-01"]).void(number, number, [], "too few")
    found = [one for one in candidates(journal.finished(FAILED).facts()) if one.name.startswith("risks.stuck.")]
    assert [(one.text.split("}}")[0], one.must, one.standing) for one in found] == [
        ("Training round {{rounds.2.number", False, True),
        ("Training round {{rounds.3.number", False, True),
        ("Training round {{rounds.4.number", True, True),
    ]


def test_what_does_not_leave_is_told_by_its_topic_whether_there_is_anything_or_not() -> None:
    assert MADE["risks.refused"] == "No contribution was refused."
    assert texts(STATES["troubled"])["risks.refused"] == (
        "1 contribution was refused (the last: bank-02, INVALID_ARGUMENT, weight 12 of 34)."
    )
    assert "is plain" in texts(two_banks().facts())["risks.visible"]
    assert "is secure" in MADE["risks.visible"]
    run = two_banks().facts()
    run.run.aggregation = "unknown"
    assert "not in the journal" in texts(run)["risks.visible"]
    run.run.population = "own"
    assert texts(run)["risks.population"].startswith("The rows are of the population own")


def test_what_a_run_leaves_open_stands_where_a_model_chooses_it_alone() -> None:
    standing = {one.name for one in candidates(whole()) if one.section == "risks" and one.standing}
    assert standing == {"risks.losing", "risks.central", "risks.shifted", "risks.visible"} - (
        {"risks.shifted"} - set(MADE)
    )
