"""The report's part in the trade's terms: budgets, intervals and days, by key."""

from services.reporter import grounding, markdown
from services.reporter.fact_table import table
from services.reporter.facts import RunFacts
from services.reporter.reading import in_money
from services.reporter.report import compose
from services.reporter.trade_facts import Estimate
from tests.services.reporter.journals import two_banks
from tests.services.reporter.states import of_payments

RUN = of_payments()


def test_the_report_has_each_budget_each_figure_with_its_interval_and_each_day() -> None:
    said, facts = markdown.render(compose(RUN)), table(RUN)
    part = said[said.index("### Alerts a day, cards and money") : said.index("### Calibration")]
    rows = [line for line in part.splitlines() if line.startswith("|")]
    assert len(rows) == (2 + 5) + (2 + 7 + 2 + 3 * 2 + 2 + 2) + (2 + 3)
    for number, budget in enumerate(("5", "10", "20", "50", "100"), 1):
        alerts = facts[f"final.trade.budgets.{number}.alerts"].text
        assert any(row.startswith(f"| {budget} | {alerts} |") for row in rows), budget
    savings = [facts[f"final.trade.headline.savings.{end}"].text for end in ("value", "low", "high")]
    assert f"| Savings | {' | '.join(savings)} |" in rows
    assert "| Recall, 0.5 % of payments being alerts |" in part
    assert "A share of payments being alerts is met exactly" in part
    assert "intervals hold 95 % of 200 bootstrap replicates by card" in part


def test_the_summary_says_what_the_budget_is_worth_and_to_what_precision() -> None:
    said, facts = markdown.render(compose(RUN)), table(RUN)
    key = "final.trade.headline.value_detection_rate"
    share, low, high = (facts[f"{key}.{end}"].text for end in ("value", "low", "high"))
    assert grounding.fill(in_money(RUN), facts) in said
    assert f"10 alerts a day of each bank stop {share} ({low} to {high}) of the frauds' amount" in said
    assert "What that is worth in money is not in the facts." not in said
    assert "not broken down by kind of fraud, amount or hour, only by day." in said


def test_without_payments_there_is_no_such_part_and_money_is_said_not_to_be_known() -> None:
    said = markdown.render(compose(two_banks().facts()))
    assert "Alerts a day, cards and money" not in said
    assert in_money(two_banks().facts()) == ""
    assert "delay of labels, and amounts." in said


def beside_central(**changes: object) -> RunFacts:
    """The same payments, of which all rows in one place stop everything."""
    run = of_payments()
    assert run.final.trade is not None
    best = run.final.trade.headline.model_copy(update={"savings": Estimate(value=0.9, low=0.8, high=1.0)})
    run.final.central_trade = run.final.trade.model_copy(update={"headline": best, **changes})
    return run


def test_all_rows_in_one_place_stand_beside_it_where_the_payments_the_budget_and_the_cost_are_the_same() -> None:
    run = beside_central()
    said, facts = markdown.render(compose(run)), table(run)
    own = [facts[f"final.trade.headline.savings.{end}"].text for end in ("value", "low", "high")]
    assert f"| Savings | {' | '.join(own)} | 90.0 % | 80.0 % | 100.0 % |" in said
    assert "Beside the same recipe trained on all rows in one place" in said
    assert run.final.trade is not None
    fewer = run.final.trade.total.model_copy(update={"payments": 1})
    others: list[dict[str, object]] = [{"headline_budget": 20}, {"admin_euro": 5.0}, {"total": fewer}]
    for changes in others:
        other = markdown.render(compose(beside_central(**changes)))
        assert "Beside the same recipe trained on all rows" not in other
    assert "Beside the same recipe trained on all rows" not in markdown.render(compose(RUN))
