"""The feature plan as facts, and what report and model card say where there is one."""

import json

from fedfraud.metrics import CurvePoint
from services.reporter import grounding, model_card, plan
from services.reporter.fact_table import table
from services.reporter.facts import RunFacts
from services.reporter.summary import curve
from tests.services.reporter.journals import two_banks
from tests.services.reporter.reports import render
from tests.services.reporter.states import of_payments, texts

RUN = of_payments()


def test_the_facts_have_the_plan_with_its_days_as_dates() -> None:
    held = json.loads(RUN.to_json())["run"]["feature_plan"]
    assert held == {
        "first_day": "2018-04-01",
        "last_day": "2018-05-25",
        "train_first_day": "2018-05-09",
        "train_last_day": "2018-05-15",
        "test_first_day": "2018-05-23",
        "day_count": 55,
        "history_days": 38,
        "train_days": 7,
        "delay_days": 7,
        "test_days": 3,
        "label_delay_days": 7,
    }
    assert RunFacts.from_json(RUN.to_json()) == RUN
    assert two_banks().facts().run.feature_plan is None


def test_report_and_card_say_period_split_and_label_delay() -> None:
    period = "- Period: the plan's 55 days, 2018-04-01 to 2018-05-25 (UTC); the first 38 are history alone, which"
    split = (
        "- Split by time: training is on 7 days, 2018-05-09 to 2018-05-15; validation on 3 days, 2018-05-23 to "
        "2018-05-25, after 7 days in between."
    )
    delay = "- Delay of labels: features take a payment's label as known 7 days after its day."
    for said in (render(RUN), model_card.render(RUN, logit_adjustment=True)):
        assert period in said
        assert split in said
        assert delay in said
    assert "Not known from the journal" not in render(RUN)
    made = texts(RUN)
    assert made["risks.period"].startswith("Validation rows are of 2018-05-23 to 2018-05-25 alone")
    assert "later than 2018-05-25, the last day of the validation" in made["steps.later"]


def test_without_a_plan_they_say_that_it_is_not_known() -> None:
    run = two_banks().facts()
    assert plan.told(run) == []
    assert "Not known from the journal: the period of the rows" in render(run)
    assert "Period" not in model_card.render(run, logit_adjustment=True)


def test_what_a_bank_discloses_of_its_rows_is_said_to_be_of_all_days() -> None:
    said = render(RUN)
    assert "- Payments a bank: 400 to 400, as disclosed by 1 bank." in said
    assert f"- Fraud rate of a bank's payments: 2.00 % to 2.00 %, as disclosed by 1 bank. {plan.OF_ALL_DAYS}" in said
    assert "rows and fraud rate are of its payments of all days of the plan:" in said
    assert "- Rows a bank: 2,000 to 4,000, as disclosed by 2 banks." in render(two_banks().facts())


def test_alerts_a_day_are_over_the_test_days_alone() -> None:
    points = (CurvePoint(2.0, 10, 8, 8.5), CurvePoint(-9.0, 1000, 20, 21.0))
    known, unknown = curve(points, 4), curve(points)
    assert known is not None
    assert unknown is not None
    assert [point.alerts_per_day for point in known.points] == [2.5, 250.0]
    assert known.budgets[0].alerts_per_day == 2.5
    assert {point.alerts_per_day for point in unknown.points} == {None}
    said = render(RUN)
    assert "on all banks' validation rows: 5 alerts (1.7 a day over all banks), 80.0 % of them fraud" in said
    assert "| 10 | 10 | 6 | 60.0 % | 30.0 % | 4 | +1.000 | 3.3 |" in said
    assert "alerts 10 (3.3 a day over all banks), frauds among them 6" in texts(RUN)["metrics.budget.3"]
    assert "a day over all banks" not in render(two_banks(curve=points).facts())


def test_banks_that_share_few_validation_frauds_are_warned_of_whatever_their_other_rows_hold() -> None:
    run = of_payments()
    run.banks[0].rows = 1_000_000  # 20,000 frauds in all days, 20 in validation
    words = "All banks' validation rows hold 20 frauds, on average fewer than 50 a bank"
    assert words in texts(run)["risks.unsteady"]
    assert grounding.fill(texts(run)["steps.more_rows"], table(run)).startswith("Validate on more days")
    assert run.final.pooled is not None
    run.final.pooled.fraud_count = 50
    assert "risks.unsteady" not in texts(run)
    run.banks[0].rows = 400  # 8 frauds in all days say nothing of validation
    assert "risks.unsteady" not in texts(run)
