"""The feature plan of a run as facts and in words: the days of the rows, how these are split, when labels come."""

from datetime import date, timedelta

from fedfraud.feature_plan import FeaturePlan
from services.reporter.facts import PlanFacts, RunFacts
from services.reporter.reading import plural, put

_PLAN = "run.feature_plan"
OF_ALL_DAYS = (
    "These are a bank's payments of all days of the plan, history and the days in between included; training and "
    "validation rows are parts of them."
)
"""What a bank's disclosed rows are, beside the smaller numbers of training and validation rows."""


def plan_facts(plan: FeaturePlan) -> PlanFacts:
    """The plan with its days as dates."""
    first = date.fromisoformat(plan.first_day)
    return PlanFacts(
        first_day=first,
        last_day=first + timedelta(days=plan.day_count - 1),
        train_first_day=first + timedelta(days=plan.train_start),
        train_last_day=first + timedelta(days=plan.train_end - 1),
        test_first_day=first + timedelta(days=plan.test_start),
        day_count=plan.day_count,
        history_days=plan.history_days,
        train_days=plan.train_days,
        delay_days=plan.delay_days,
        test_days=plan.test_days,
        label_delay_days=plan.label_delay_days,
    )


def told(run: RunFacts) -> list[str]:
    """Period, split by time and delay of labels, a sentence each; none where banks' rows have no days."""
    plan = run.run.feature_plan
    if plan is None:
        return []
    first, last, begun, ended, tested = (
        put(f"{_PLAN}.{name}")
        for name in ("first_day", "last_day", "train_first_day", "train_last_day", "test_first_day")
    )
    waited = f", after {_days(plan, 'delay_days')} in between" if plan.delay_days else ""
    return [
        f"Period: the plan's {_days(plan, 'day_count')}, {first} to {last} (UTC); the first "
        f"{put(f'{_PLAN}.history_days')} are history alone, which features look back on.",
        f"Split by time: training is on {_days(plan, 'train_days')}, {begun} to {ended}; validation on "
        f"{_days(plan, 'test_days')}, {tested} to {last}{waited}.",
        f"Delay of labels: features take a payment's label as known {_days(plan, 'label_delay_days')} after its day.",
    ]


def _days(plan: PlanFacts, name: str) -> str:
    return plural(getattr(plan, name), f"{_PLAN}.{name}", "day")
