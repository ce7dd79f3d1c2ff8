"""What the wording of a sentence is decided by: the figure that a reader sees."""

import pytest

from services.reporter.derived import curve
from services.reporter.fact_table import Fact
from services.reporter.sentences.sentence import a_budget, by_side, known, middle, printed
from tests.services.reporter.journals import two_banks
from tests.services.reporter.states import CURVE


@pytest.mark.parametrize(
    ("text", "figure"),
    [("0.700", 0.7), ("-0.200", -0.2), ("+0.000", 0.0), ("-0.000", 0.0), ("1,234", 1234), ("5.00 %", 5)],
)
def test_a_figure_counts_as_it_is_printed(text: str, figure: float) -> None:
    assert printed({"a": Fact("a", 9.99, text)}, "a") == figure


def test_words_are_on_the_side_of_the_difference() -> None:
    assert [by_side(change, "up", "down", "level") for change in (0.1, -0.1, 0.0, -0.0)] == [
        "up",
        "down",
        "level",
        "level",
    ]


def test_facts_are_known_if_all_of_them_are() -> None:
    facts = {key: Fact(key, 1, "1") for key in "ab"}
    assert (known(facts, "a", "b"), known(facts, "a", "c")) == (True, False)


def test_the_budget_that_is_spoken_of_is_the_middle_one_and_says_its_rows() -> None:
    found = curve(two_banks(curve=CURVE).facts())
    assert found is not None
    assert middle(found) == "final.holdout_curve.budgets.2"
    assert a_budget(middle(found)).endswith("on the public hold-out")
    assert a_budget("final.pooled_curve.budgets.1").endswith("on all banks' validation rows")
