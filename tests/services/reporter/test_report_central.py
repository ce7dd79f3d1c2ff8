"""What the report says of a model of all rows in one place: which side is ahead, and where nothing is compared."""

import pytest

from services.reporter import model_card, summary
from services.reporter.facts import RunFacts
from tests.services.reporter.figures import strays
from tests.services.reporter.journals import two_banks, with_central
from tests.services.reporter.reports import chosen, render, sections
from tests.services.reporter.states import of_payments


def test_the_central_model_is_a_line_of_the_comparison_where_there_is_one() -> None:
    run = two_banks().facts()
    assert "All rows in one place" not in render(run)
    text = render(with_central(run, 0.8))
    assert "| All rows in one place, hold-out | – | 0.800 | – |" in text
    assert "Federated minus all rows in one place, on the public hold-out: -0.100 in average precision." in text


def elsewhere(run: RunFacts, **rows: int) -> RunFacts:
    """The run with a central model that is ahead by 0.1, of other rows."""
    run = with_central(run, 0.8)
    assert run.final.central is not None
    run.final.central = run.final.central.model_copy(update=rows)
    return summary.complete(run, run.rounds[-1])


@pytest.mark.parametrize(
    ("rows", "judged"),
    [
        ({"row_count": 1500}, "judged on 1,500 rows, 20 of them fraud"),
        ({"fraud_count": 25}, "judged on 1,000 rows, 25 of them fraud"),
    ],
)
def test_a_central_model_that_was_judged_on_other_rows_is_not_compared(rows: dict[str, int], judged: str) -> None:
    run = elsewhere(two_banks().facts(), **rows)
    assert run.final.against_central is None
    assert run.derived is not None
    assert run.derived.change.central is None
    text = render(run)
    said = f"{judged}, the federated model on 1,000, 20 of them fraud: no comparison."
    parts = sections(text)
    assert said in parts["Executive summary"]
    assert said in parts["Metric interpretation"]
    for words in ("All rows in one place,", "Federated minus all rows", "behind it", "costs", "ranks better", "Weigh"):
        assert words not in text, words
    assert strays(text, run) == []
    assert said in model_card.render(run, logit_adjustment=False)


def test_facts_that_compared_other_rows_are_not_read_as_a_comparison() -> None:
    run = with_central(two_banks().facts(), 0.8)
    assert run.final.central is not None
    run.final.central.row_count = 1500  # against_central is as an older version left it
    text = render(run)
    assert "judged on 1,500 rows" in text
    for words in ("behind it by", "what it costs here", "ranks better"):
        assert words not in text, words


def test_a_loss_against_central_is_not_laid_to_the_rows_alone_where_counts_may_have_noise() -> None:
    counted = of_payments()
    assert counted.final.pooled is not None
    counted.final.central = counted.final.pooled.model_copy(update={"average_precision": 0.45})
    counted = summary.complete(counted, counted.rounds[-2])
    noisy = ", noise that banks may have added to their counts included."
    text = render(counted)
    assert f"leave the rows where they are{noisy}" in text
    assert f"the price of leaving the rows where they are, in this run{noisy}" in text
    plain = render(with_central(two_banks().facts(), 0.8))
    assert "what it costs here to leave the rows where they are." in plain
    assert noisy not in plain


@pytest.mark.parametrize(
    ("central", "said", "meant", "risk"),
    [
        (0.8, "behind it by 0.100", "what it costs here", "ranks better by 0.100 in average precision"),
        (
            0.6,
            "ahead of it by 0.100",
            "would not have ranked better",
            "Central, with 0.600 no better here, is no bound",
        ),
        (0.7003, "0.700: neither is ahead at the printed precision", "costs nothing", "is no bound"),
    ],
)
def test_which_side_is_ahead_of_the_other_is_said_in_the_summary_the_reading_and_the_risks(
    central: float, said: str, meant: str, risk: str
) -> None:
    run = with_central(two_banks().facts(), central)
    parts = sections(render(run))
    assert said in parts["Executive summary"]
    assert said in parts["Metric interpretation"]
    assert meant in parts["Metric interpretation"]
    assert risk in parts["Risks"]
    assert strays(render(run), run) == []
    for names in (["summary.chance"], ["summary.central", "summary.chance"]):
        summary = sections(render(run, chosen(run, executive_summary=names)))["Executive summary"]
        assert summary.count(said) == 1, "whoever chooses, and once"
    assert "Central" not in render(two_banks().facts())
