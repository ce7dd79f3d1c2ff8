"""Reasons: every feature is in one group, and the weightiest come first whichever way they weigh."""

import numpy as np
import pytest

from fedfraud.manifest import Manifest
from fedfraud.transactions import SCHEMAS
from services.bank_client.reasons import Reasons, Seen


@pytest.mark.parametrize("population", list(SCHEMAS))
def test_every_feature_is_in_one_group(population: str) -> None:
    features = SCHEMAS[population]
    reasons = Reasons(Manifest(population, features), [0.0] * len(features))
    places = [place for group in reasons.groups.values() for place in group]
    assert sorted(places) == list(range(len(features)))


def test_payments_have_reasons_that_an_analyst_knows() -> None:
    reasons = Reasons(Manifest("cards", SCHEMAS["cards"]), [0.0] * 15)
    assert list(reasons.groups) == [
        "amount",
        "weekend",
        "time of day",
        "customer's number of payments lately",
        "customer's spending lately",
        "merchant's number of payments",
        "merchant's known frauds",
    ]
    assert reasons.weights(np.arange(15.0)[None]).tolist() == [
        [0, 1, 2, 3 + 5 + 7, 4 + 6 + 8, 9 + 11 + 13, 10 + 12 + 14]
    ]


def test_whether_a_value_is_known_belongs_to_the_value() -> None:
    reasons = Reasons(Manifest("baf", SCHEMAS["baf"]), [0.0] * len(SCHEMAS["baf"]))
    names = [feature.name for feature in SCHEMAS["baf"]]
    group = reasons.groups["bank_months_count"]
    assert [names[place] for place in group] == ["bank_months_count", "bank_months_count_known"]


def test_the_weightiest_come_first_with_their_sign_and_what_was_seen() -> None:
    reasons = Reasons(Manifest("cards", SCHEMAS["cards"]), [50.0, *[0.25] * 14])
    values = np.arange(15.0) * 10
    amount, weekend = reasons.top(np.array([-3.0, 2.0, 0.5, 0.0, -1.0, 1.0, 0.0]), values, 2)
    assert (amount.name, amount.weight, amount.seen) == ("amount", -3.0, (Seen("amount", "euro", 0.0, 50.0),))
    assert (weekend.name, weekend.seen[0].value, weekend.seen[0].usual) == ("weekend", 10.0, 0.25)
    assert len(reasons.top(np.zeros(7), values, 100)) == 7
