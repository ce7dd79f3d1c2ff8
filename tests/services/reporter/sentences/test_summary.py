"""Sentences of the executive summary, on two banks of which one gains 0.15 and one loses 0.2 on own rows."""

from tests.services.reporter.journals import FINAL, Journal, scores, two_banks
from tests.services.reporter.states import STATES, texts, whole

MADE = texts(whole())


def test_the_comparison_names_both_figures_and_the_difference() -> None:
    assert MADE["summary.mean"] == (
        "On the hold-out, over the banks that disclose both, mean average precision is 0.550 alone and 0.700 with the "
        "federated model; the mean difference is +0.150: on average the banks do better with it."
    )
    assert MADE["summary.range"].endswith(
        "lie between 0.300 and 0.800; with the federated model, between 0.700 and 0.700."
    )
    assert MADE["summary.weakest"].endswith(
        "is 0.300 alone and 0.700 with the federated model: the lowest is higher with it."
    )


def test_central_is_ahead_and_is_said_to_be() -> None:
    assert MADE["summary.central"] == (
        "The same recipe on all rows in one place reaches an average precision of 0.800 on the public hold-out, the "
        "federated model 0.700: the federated model is behind it by 0.100."
    )
    assert "summary.central" not in texts(two_banks().facts())


def test_who_gains_and_who_loses_is_named() -> None:
    lead = "Of 2 banks with both figures disclosed on own rows,"
    assert MADE["summary.gaining"] == f"{lead} 1 gains by the federation: bank-01."
    assert MADE["summary.losing"] == f"{lead} 1 loses by the federation: bank-02 (-0.200)."
    assert MADE["summary.most"].startswith(
        "No bank gains more by the federation than bank-01: average precision 0.500 alone"
    )


def test_the_ranking_the_budget_the_rounds_and_the_sizes_have_their_figures() -> None:
    assert "the ranking is 35.0 times as good as chance" in MADE["summary.chance"]
    assert "was 0.020 for the first measured model and 0.700 for the last: the last ranks" in MADE["summary.training"]
    assert "finds 20.0 % of the frauds, and 80.0 % of the alerts are fraud" in MADE["summary.budget"]
    assert MADE["summary.rounds"] == "2 of 2 training rounds were committed; 2 banks were asked to take part."
    assert MADE["summary.sizes"] == "The 2 banks that disclose their size have from 2,000 to 4,000 rows each."


def test_who_is_as_before_and_of_whom_it_is_not_known_is_counted_and_named() -> None:
    seats = ["bank-01", "bank-02", "bank-03"]
    journal = Journal().started(rounds=1).opened(1, seats).accepted(1, "bank-01", alone=0.5, federated=0.5004)
    journal.accepted(1, "bank-02", alone=0.5, federated=0.4).accepted(1, "bank-03")
    made = texts(journal.committed(1, 2, seats, FINAL, holdout=scores(0.7)).finished().facts())
    assert made["summary.unchanged"] == (
        "Of 2 banks with both figures disclosed on own rows, 1 is as before at the printed precision: bank-01."
    )
    assert made["summary.uncompared"] == (
        "Of 1 bank it is not known whether the federation serves better on own rows: bank-03."
    )
    assert not {"summary.unchanged", "summary.uncompared"} & set(MADE)


def test_of_banks_that_cannot_be_compared_that_is_said_and_no_more() -> None:
    made = texts(STATES["undisclosed"])
    assert made["summary.undisclosed"] == (
        "Nobody can say of any bank whether it gains on its own rows: the run ended before the final round, in which "
        "banks compare."
    )
    assert not {"summary.mean", "summary.gaining", "summary.losing", "summary.sizes"} & set(made)
