"""Facts by key: each key is a path of facts.json, and is printed in one way."""

import json
from typing import Any

import pytest

from services.reporter import grounding
from services.reporter.fact_table import Table, table
from services.reporter.facts import RunFacts
from services.reporter.report import compose
from tests.services.reporter.journals import Journal, two_banks
from tests.services.reporter.states import STATES

RUN = two_banks().facts()
FACTS = table(RUN)


def look_up(run: RunFacts, key: str) -> Any:  # noqa: ANN401  # any JSON
    """What facts.json has under a key: a name, a place from 1, or the seat of an item."""
    value = json.loads(run.to_json())
    rest = key
    while rest:
        if isinstance(value, list):
            name, _, rest = rest.partition(".")
            value = (
                next((item for item in value if isinstance(item, dict) and item.get("seat") == name), None)
                or value[int(name) - 1]
            )
        else:
            name, _, rest = rest.partition(".")
            value = value[name]
    return value


def test_every_key_leads_to_its_value_in_facts_json() -> None:
    known = {key: fact.value for key, fact in FACTS.items()}
    assert len(known) > 100
    assert "derived.change.training" in known
    assert {key: look_up(RUN, key) for key in known} == known


@pytest.mark.parametrize("run", STATES.values(), ids=STATES)
def test_every_figure_of_a_report_stands_in_facts_json_by_its_key(run: RunFacts) -> None:
    made = compose(run)
    keys = {key for text in made.document.texts() for key in grounding.keys(text)}
    assert len(keys) > 20
    for key in keys:
        if not key.startswith("narrative."):  # of the text itself: narrative.json has these
            assert made.facts[key].value == look_up(run, key), key


def test_what_is_not_known_has_no_key() -> None:
    facts = table(Journal().started().opened(1, ["bank-01"]).finished().facts())
    assert "banks.bank-01.seat" in facts
    assert "banks.bank-01.alone" not in facts
    assert "final.holdout.average_precision" not in facts


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("final.holdout.average_precision", "0.700"),
        ("final.holdout.prevalence", "0.0200"),
        ("final.holdout.accuracy", "98.50 %"),
        ("final.holdout.recall_at_one_percent", "30.0 %"),
        ("final.holdout.row_count", "1,000"),
        ("final.uplift.mean", "-0.025"),
        ("final.uplift.count", "2"),
        ("banks.bank-02.uplift", "-0.200"),
        ("banks.bank-02.fraud_rate", "5.00 %"),
        ("banks.bank-01.seat", "bank-01"),
        ("rounds.1.seconds", "0.25"),
        ("run.seed", "7"),
        ("run.hyperparameters.learning_rate", "0.003"),
        ("run.hyperparameters.logit_adjustment", "yes"),
        ("heterogeneity.rows.most", "4,000"),
        ("derived.chance_multiple", "35.0 times"),
        ("derived.change.training", "+0.680"),
    ],
)
def test_a_fact_is_printed_in_one_way(key: str, text: str) -> None:
    assert FACTS[key].text == text


def test_a_seat_that_is_no_plain_name_is_known_by_its_place() -> None:
    facts: Table = table(Journal().started().opened(1, ["bank-01", "x}} <b>"]).finished().facts())
    assert {fact.text for key, fact in facts.items() if key.startswith("banks.") and key.endswith(".seat")} == {
        "bank-01",
        "x}} <b>",
    }
    assert not any("}" in key or " " in key for key in facts)
