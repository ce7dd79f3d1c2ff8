"""Words, printed figures and printed differences agree, also where figures lie beside a rounding edge."""

import random
import re
from decimal import Decimal
from typing import Any

import pytest

from services.reporter import markdown
from services.reporter.facts import RunFacts
from services.reporter.page import view
from services.reporter.page.figures import FORMS
from services.reporter.page.view import Shown
from services.reporter.report import compose
from services.reporter.rounding import difference, sign
from tests.services.reporter.journals import FINAL, PREPARING, Journal, scores, with_central
from tests.services.reporter.states import CURVE, texts


def test_a_change_counts_from_the_printed_precision_on() -> None:
    assert [sign(change) for change in (0.0006, 0.0004, 0.0, -0.0004, -0.0006, None)] == [1, 0, 0, 0, -1, 0]


def test_a_difference_is_that_of_the_printed_figures() -> None:
    assert difference(0.50049, 0.49951) == 0.0
    assert difference(0.50051, 0.50049) == 0.001
    assert difference(0.50049, 0.50051) == -0.001
    assert difference(0.05004, 0.04996, 4) == 0.0
    assert difference(0.05006, 0.05004, 4) == 0.0001
    assert (difference(None, 0.5), difference(0.5, None)) == (None, None)


def near_an_edge(drawn: random.Random) -> tuple[float, float]:
    """Two figures within two thousandths of each other, most of them beside where rounding turns."""
    edge = drawn.randint(100, 900) / 1000 + 0.0005
    first, second = (edge + drawn.choice([-1, 0, 1]) * drawn.choice([1e-9, 1e-5, 4e-4, 6e-4, 1e-3]) for _ in range(2))
    return first, second


def drawn_run(seed: int, banks: int = 9) -> RunFacts:
    """Everything that is compared in a report lies beside a rounding edge."""
    drawn = random.Random(seed)  # noqa: S311  # drawn for a test
    seats = [f"bank-{number:02d}" for number in range(1, banks + 1)]
    first, last = near_an_edge(drawn)
    journal = Journal().started(rounds=1).opened(1, seats)
    journal.committed(1, 0, seats, PREPARING, holdout=scores(first)).opened(2, seats)
    journal.committed(2, 1, seats, pooled=scores(first), holdout=scores(last)).opened(3, seats)
    for seat in seats:
        (alone, federated), (alone_holdout, federated_holdout) = near_an_edge(drawn), near_an_edge(drawn)
        held: dict[str, Any] = {"alone_holdout": alone_holdout, "federated_holdout": federated_holdout}
        rate = 0.0077 + drawn.random() / 1e4
        journal.accepted(3, seat, row_count=900, fraud_rate=rate, alone=alone, federated=federated, **held)
    journal.committed(3, 1, seats, FINAL, pooled=scores(near_an_edge(drawn)[0]), holdout=scores(last), curve=CURVE)
    return with_central(journal.finished().facts(), last + drawn.choice([-1, 1]) * drawn.choice([1e-9, 1e-5, 6e-4]))


@pytest.mark.parametrize("seed", range(25))
def test_a_banks_row_its_gain_and_its_difference_agree(seed: int) -> None:
    run = drawn_run(seed)
    text = markdown.render(compose(run))
    rows = re.findall(r"^\| (bank-\d+) \| [\d,]+ \| [\d.]+ % \| ([\d.]+) \| ([\d.]+) \| ([+-][\d.]+) \|", text, re.M)
    assert len(rows) == len(run.banks)
    ways: dict[str, list[str]] = {"gain": [], "before": [], "lose": []}
    for seat, alone, federated, uplift in rows:
        change = Decimal(federated) - Decimal(alone)
        assert Decimal(uplift) == change
        ways["gain" if change > 0 else "lose" if change < 0 else "before"].append(seat)
    for way, words in (
        ("gain", r"gains? by the federation"),
        ("before", "(?:is|are) as before at the printed precision"),
    ):
        found = re.search(rf"(\d+) {words}(?: \((.*?)\))?", text)
        said = set(re.findall(r"bank-\d+", found[2] or "")) if found else set()
        assert said == set(ways[way])
    page = re.sub(r"<[^>]+>", "", view.sections(Shown(connected=True, run=run))["gain"])
    found = re.search(r"(\d+) gains?, (\d+) (?:is|are) as before at the printed precision, (\d+) loses?; of", page)
    assert found
    assert [int(count) for count in found.groups()] == [len(seats) for seats in ways.values()]


@pytest.mark.parametrize("seed", range(25))
def test_two_figures_and_the_difference_beside_them_agree(seed: int) -> None:
    run = drawn_run(seed)
    made = texts(run)
    number = r"([+-]?\d+\.\d+)"
    pairs = {
        "metrics.central": rf"of {number} on the public hold-out, .*? model {number}: (?:neither|.* by {number})",
        "metrics.places": rf"is {number} on the hold-out and {number} on .* a difference of {number}",
        "metrics.loss": rf"is {number} nats; .* gives {number}, a difference of {number}",
        "summary.mean": rf"is {number} alone and {number} with the federated model; the mean difference is {number}",
        "metrics.bank.1": rf"rows, average precision is {number} alone and {number} with .*?, a difference of {number}",
    }
    for name, pattern in pairs.items():
        found = re.search(pattern, made[name])
        assert found, made[name]
        first, second, change = (Decimal(one or "0") for one in found.groups())
        between = first - second if name in ("metrics.places", "metrics.loss") else second - first
        assert (abs(between) if name == "metrics.central" else between) == change, made[name]
    report = markdown.render(compose(run))
    ends = [scored.average_precision for place in (0, 1) if (scored := run.rounds[place].holdout)]
    changed = re.search(rf"changed by {number} from the first measured model to the last", report)
    assert changed
    assert Decimal(changed[1]) == Decimal(f"{ends[1]:.3f}") - Decimal(f"{ends[0]:.3f}")
    page = view.sections(Shown(connected=True, run=run))
    said = re.search(
        rf"Federating (lifts|lowers|leaves).*?(?:from {number} to )?{number}<",
        re.sub(r"<(?!/h1)[^>]+>", "", page["verdict"]),
    )
    assert said
    way = sign(float(said[3]) - float(said[2] or said[3]))
    assert said[1] == {1: "lifts", -1: "lowers", 0: "leaves"}[way]
    for text in (report, *page.values()):
        assert not re.search(
            r"(?<![\d.])-0(\.0+)?(?![\d.])(?! [1-9])", re.sub(r"<svg.*?</svg>|<[^>]+>", "", text, flags=re.S)
        )
        assert not re.search(r"from ([\d.]+ %) to \1", text)


def test_nothing_is_ever_printed_as_minus_nothing() -> None:
    for name in ("score", "prevalence", "logit", "signed", "percent", "rate", "whole", "two", "five", "euro", "one"):
        assert not FORMS[name](-1e-9).startswith("-"), name
