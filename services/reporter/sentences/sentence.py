"""A sentence that code has made of the facts, and what its wording is decided by: figures as they are printed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from services.reporter.derived import middle_budget
from services.reporter.fact_table import Fact
from services.reporter.reading import put
from services.reporter.score_facts import CurveFacts

Facts = Mapping[str, Fact]

TOPICS = (
    "ranking", "comparison", "banks", "alerts", "calibration", "rounds", "privacy", "data", "limits", "review"
)  # fmt: skip
"""What a sentence is about."""


@dataclass(frozen=True)
class Sentence:
    """One sentence or two that are true of the run whatever stands around them; figures by key.

    `must` where a narrative without it would mislead. `standing` where it stands in the report whoever writes. `about`
    where its text may not leave for a model: words that are the same for every run, and leave in its place. Not
    `offered` where its being there would tell already.
    """

    name: str
    section: str
    topic: str
    text: str
    must: bool = False
    standing: bool = False
    about: str = ""
    offered: bool = True


def printed(facts: Facts, key: str) -> float:
    """The figure at the precision that a reader sees, so that words and figures cannot disagree."""
    return float(re.sub(r"[ %,]", "", facts[key].text))


def known(facts: Facts, *keys: str) -> bool:
    """Whether all of these facts are known."""
    return all(key in facts for key in keys)


def by_side(difference: float, above: str, below: str, level: str) -> str:
    """The words for a difference above, below or at zero."""
    return above if difference > 0 else below if difference < 0 else level


def middle(found: tuple[str, CurveFacts]) -> str:
    """The key of the budget that the report speaks of."""
    return f"{found[0]}.budgets.{middle_budget(found[1]) + 1}"


def a_budget(key: str, size: float = 0) -> str:
    """Within a budget of 5 alerts in 1,000 transactions, on the public hold-out; `size` where it may be 1."""
    where = "the public hold-out" if "holdout" in key else "all banks' validation rows"
    thousand = put("derived.rule.thousand")
    alerts = "alert" if size == 1 else "alerts"
    return f"a budget of {put(f'{key}.budget_per_thousand')} {alerts} in {thousand} transactions, on {where}"
