"""The published schema is that of the facts, and the facts keep to it."""

import json
from pathlib import Path

import jsonschema
import pytest

from fedfraud.metrics import CurvePoint
from services.reporter.facts import RunFacts, schema
from tests.services.reporter.journals import Journal, two_banks

PUBLISHED = Path(__file__).parents[3] / "docs" / "facts.schema.json"


def test_the_published_schema_is_current() -> None:
    assert PUBLISHED.read_text() == schema()


def test_facts_of_a_whole_run_validate_against_the_schema() -> None:
    curve = (CurvePoint(2.0, 10, 8, 8.5), CurvePoint(-9.0, 1000, 20, 21.0))
    facts = json.loads(two_banks(curve=curve).refused("bank-01", "too late").facts().to_json())
    assert facts["final"]["pooled_curve"]["points"]
    jsonschema.validate(facts, json.loads(PUBLISHED.read_text()), cls=jsonschema.Draft202012Validator)


def test_facts_of_a_run_without_a_round_validate_too() -> None:
    facts = json.loads(Journal().started().finished().facts().to_json())
    jsonschema.validate(facts, json.loads(PUBLISHED.read_text()), cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("change", [{"rounds": 3}, {"run": {}}, {"events": [{"text": "no time"}]}])
def test_what_is_no_facts_does_not(change: dict[str, object]) -> None:
    facts = {**json.loads(two_banks().facts().to_json()), **change}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(facts, json.loads(PUBLISHED.read_text()), cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "place", [(), ("run",), ("final",), ("final", "holdout"), ("rounds", 0), ("banks", 0), ("events", 0), ("code",)]
)
def test_what_the_schema_does_not_name_is_no_facts_and_is_passed_over_when_read(place: tuple[str | int, ...]) -> None:
    facts = json.loads(two_banks().facts().to_json())
    part = facts
    for step in place:
        part = part[step]
    part["invented"] = 1
    with pytest.raises(jsonschema.ValidationError, match="invented"):
        jsonschema.validate(facts, json.loads(PUBLISHED.read_text()), cls=jsonschema.Draft202012Validator)
    assert RunFacts.from_json(json.dumps(facts)).run.outcome == "finished"


def test_every_object_of_the_schema_says_what_else_may_be_in_it() -> None:
    described = json.loads(schema())
    objects = {name: part for name, part in described["$defs"].items() if part.get("type") == "object"}
    assert [name for name, part in objects.items() if part.get("additionalProperties") is not False] == []
    assert described["additionalProperties"] is False
    assert len(objects) > 20


def test_facts_of_an_earlier_version_are_read() -> None:
    facts = json.loads(two_banks().facts().to_json())
    for name in ("totals", "heterogeneity", "release", "events", "open"):
        del facts[name]
    assert RunFacts.from_json(json.dumps(facts)).run.outcome == "finished"
