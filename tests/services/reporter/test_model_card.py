"""The model card: front matter that a machine reads, and no figure that is not a fact."""

import json
import re
from typing import Any

import pytest
import yaml

from fedfraud.build import build
from services.reporter import model_card
from services.reporter.facts import FeatureFacts, RunFacts, RunStateFacts
from tests.services.reporter.journals import two_banks, with_central
from tests.services.reporter.states import FIT


def facts() -> RunFacts:
    run = two_banks().facts()
    run.run.run_state = RunStateFacts(training_rows=900, training_frauds=18, fraud_rate=0.02, weight_scale=1.0)
    run.run.features = [FeatureFacts(name="a", unit="EUR", mean=10.25, deviation=2.5)]
    return run


def front_matter(card: str) -> dict[str, Any]:
    _, head, _ = card.split("---\n", 2)
    read = yaml.safe_load(head)
    assert isinstance(read, dict)
    return read


def test_the_front_matter_has_the_hashes_and_the_results_of_the_facts() -> None:
    run = facts()
    head = front_matter(model_card.render(run, True))
    identity = ("model_sha256", "vector_sha256", "journal_sequence", "journal_head")
    assert [head[name] for name in identity] == [getattr(run.run, name) for name in identity]
    assert head["run_id"] == run.run.id
    (index,) = head["model-index"]
    values = {metric["type"]: metric["value"] for metric in index["results"][0]["metrics"]}
    assert run.final.holdout is not None
    assert values["average_precision"] == run.final.holdout.average_precision


def numbers(value: object) -> set[float]:
    """Every number in the facts, those in texts too, and shares in percent."""
    if isinstance(value, dict):
        return set().union(*(numbers(part) for part in [*value, *value.values()]))
    if isinstance(value, list):
        return {float(len(value))}.union(*(numbers(part) for part in value))
    if isinstance(value, bool) or value is None:
        return set()
    if isinstance(value, int | float):
        return {float(value), 100.0 * value}
    return {float(number) for number in re.findall(r"\d+(?:\.\d+)?", str(value))}


def test_no_key_is_left_where_its_figure_belongs() -> None:
    assert "{{" not in model_card.render(facts(), True)


def test_every_figure_of_the_card_is_a_fact() -> None:
    run = facts()
    known = numbers(json.loads(run.to_json()))
    text = model_card.render(run, True).split("---\n", 2)[2]
    text = re.sub(r"\(f \+ 1\) / \(n \+ 2\)|Recall at [\d.]+ % alerts|`[^`]*`|float32", "", text)
    found = re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?![\w.])", text)
    assert len(found) > 20
    for number in found:
        value = float(number.replace(",", ""))
        assert any(abs(value - fact) <= 0.5 * 10 ** -min(_places(number), 6) for fact in known), number


def _places(number: str) -> int:
    return len(number.partition(".")[2])


@pytest.mark.parametrize(
    ("logit_adjustment", "told"),
    [
        (True, "the pooled log-odds of fraud (18 of 900 training rows"),
        (False, "the sigmoid of the network's output is the probability; nothing is added to it"),
    ],
)
def test_the_card_says_plainly_what_makes_the_output_a_probability(logit_adjustment: bool, told: str) -> None:
    card = model_card.render(facts(), logit_adjustment)
    assert told in card
    assert "No further calibration was fitted." in card


def test_the_card_tells_a_recalibration_and_that_it_is_not_in_the_files() -> None:
    card = model_card.render(two_banks(recalibration=FIT).facts(), True)
    assert "a slope of 0.9 and an intercept of -0.25 on their log-odds, fitted there." in card
    assert "No further calibration" not in card


def test_the_card_counts_as_the_report_does_and_prints_scores_as_it_does() -> None:
    card = model_card.render(with_central(two_banks().facts(), 0.6), True)
    assert "1 gains against training alone, 0 are as before at the printed precision, 1 loses, in average" in card
    assert "| the public hold-out | 0.700 | 0.900 | 0.0500 | 0.0200 | 20.0 % | 30.0 % | 1,000 | 20 |" in card
    assert "the federated model is ahead of it by 0.100" in card


def test_the_card_names_the_code_that_made_it() -> None:
    card = model_card.render(facts(), True)
    assert (front_matter(card)["code_version"], front_matter(card)["code_commit"]) == (build().version, build().commit)
    assert f"| Code | version {build().version}, commit {build().commit} |" in card


def test_names_of_others_make_no_headings_links_or_markup() -> None:
    run = facts()
    run.run.population = run.run.recipe = "x\n# Heading <script>alert(1)</script> [a](http://b) \n---\nevil: 1"
    run.run.features[0].name = "a | b\n## Heading"
    card = model_card.render(run, True)
    assert "evil" not in front_matter(card)
    body = card.split("---\n", 2)[2]
    assert "<script" not in body
    assert [line for line in body.splitlines() if line.startswith("#") and "Heading" in line] == []
    assert "](http://b)" not in body
