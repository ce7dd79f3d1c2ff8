"""What a bank's rows are examples of: features of its own, or of its payments under one set of counters."""

from dataclasses import replace

import numpy as np
import pytest

from fedfraud.errors import Invalid
from fedfraud.feature_plan import FeaturePlan
from services.bank_client import features
from services.bank_client.dataset import Rows
from services.bank_client.examples import FeatureTable, Payments
from tests.services.bank_client.payments import at_random

PLAN = FeaturePlan("2018-04-01", bucket_count=64)
KEY, OTHER_KEY = bytes(32), bytes(31) + b"1"
HASH = bytes(range(32))
ROWS = at_random(7, PLAN.start_time, (-3, 62), 3_000, people=2_000, shops=40)


def test_a_table_has_its_examples_without_counters() -> None:
    draws = np.random.RandomState(7)
    table = FeatureTable(Rows(draws.normal(size=(100, 3)), draws.random_sample(100) < 0.3))
    assert table.knows(b"")
    assert not table.knows(HASH)
    assert table.under(b"") is table.alone()
    assert len(table.under(b"").training) + len(table.under(b"").validation) == table.row_count == 100
    for refused in (
        lambda: table.under(HASH),
        lambda: table.learn(HASH, np.zeros(1, np.int64)),
        table.counts,
        table.judged,
    ):
        with pytest.raises(Invalid, match=r"^(features|counts|figures of the trade) must "):
            refused()


def test_a_table_is_halved_for_a_choice_by_every_other_row_of_each_class() -> None:
    draws = np.random.RandomState(7)
    table = FeatureTable(Rows(draws.normal(size=(100, 3)), np.arange(100) % 3 == 0))
    labels, chosen = table.under(b"").validation.labels, table.for_choice()
    assert (len(labels), labels.sum()) == (15, 5)
    assert (chosen.sum(), (chosen & labels).sum()) == (8, 3)


def test_payments_are_halved_for_a_choice_by_day() -> None:
    bank = Payments(ROWS, PLAN, KEY)
    day, chosen = bank.judged().day, bank.for_choice()
    assert set(day[chosen].tolist()) == {0, 1, 2, 3}
    assert set(day[~chosen].tolist()) == {4, 5, 6}


def test_payments_have_features_under_the_counters_they_learnt_and_no_others() -> None:
    bank = Payments(ROWS, PLAN, KEY)
    own = bank.counts()
    assert bank.row_count == own[..., 0].sum() + np.count_nonzero(_days(bank) >= PLAN.counted_days)
    with pytest.raises(Invalid, match=r"^features must follow from counters that the bank has, got 000102030405$"):
        bank.under(HASH)
    bank.learn(HASH, 10 * own)
    assert bank.knows(HASH)
    assert not bank.knows(b"")
    alone, federated = bank.alone(), bank.under(HASH)
    counted = [9, 11, 13]
    assert np.array_equal(10 * alone.training.features[:, counted], federated.training.features[:, counted])
    assert np.array_equal(alone.training.labels, federated.training.labels)
    assert federated.validation.features[:, counted].any()
    bank.learn(bytes(32), own)
    assert not bank.knows(HASH)
    assert np.array_equal(bank.under(bytes(32)).validation.features, bank.alone().validation.features)


def test_what_the_trade_judges_are_the_validation_rows_in_their_order() -> None:
    bank = Payments(ROWS, PLAN, KEY)
    judged, rows = bank.judged(), bank.alone().validation
    assert judged.fraud.tolist() == rows.labels.tolist()
    assert (judged.cents / 100).tolist() == rows.features[:, 0].tolist()
    assert set(judged.day.tolist()) <= set(range(PLAN.test_days))
    assert (np.diff(judged.day) >= 0).all()
    validated = features.planned(ROWS, PLAN).take(features.split(features.planned(ROWS, PLAN), PLAN)[1])
    first_paid = list(dict.fromkeys(validated.customer.tolist()))
    assert [first_paid[card] for card in judged.card] == validated.customer.tolist(), "numbered by their first payment"


def _days(bank: Payments) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    inside = features.planned(ROWS, PLAN)
    assert len(inside) == bank.row_count < len(ROWS)
    return (inside.time - PLAN.start_time) // 86_400


def test_the_hash_is_of_all_that_leaves_follows_from() -> None:
    inside = features.planned(ROWS, PLAN)
    variants = [
        (inside, KEY),
        (inside, OTHER_KEY),  # merchants fall into other buckets
        (replace(inside, amount=inside.amount + 1), KEY),
        (replace(inside, label=1 - abs(inside.label)), KEY),
        (replace(inside, known_at=inside.known_at + 1), KEY),
        (replace(inside, customer=inside.customer[::-1]), KEY),
    ]
    hashes = [Payments(transactions, PLAN, key).sha256 for transactions, key in variants]
    assert len(set(hashes)) == len(variants)
    assert Payments(ROWS, PLAN, KEY).sha256 == hashes[0]  # rows of other days change nothing


def test_a_bank_without_a_row_to_train_on_is_refused() -> None:
    with pytest.raises(
        Invalid,
        match=r"^payments must have a known label in the plan's training days, 7 from day 38 after 2018-04-01, "
        r"got none in \d+ payments of its days$",
    ):
        Payments(at_random(7, PLAN.start_time, (0, 30), 100), PLAN, KEY)


def test_noise_is_on_what_leaves_and_not_on_what_the_bank_is_alone() -> None:
    quiet, loud = Payments(ROWS, PLAN, KEY), Payments(ROWS, PLAN, KEY, 1.0, bytes(32))
    added = loud.counts() - quiet.counts()
    assert 0.4 < np.mean(added != 0) < 0.7  # two thirds of what a scale of 1 draws are not 0, less its own zeros
    assert (added < 0).any()
    assert np.array_equal(loud.counts(), loud.counts())
    assert np.array_equal(loud.alone().training.features, quiet.alone().training.features)
    loud.learn(HASH, loud.counts())
    assert loud.under(HASH).training.features.min() >= 0, "what noise takes below 0 counts as 0"
