"""The benchmark on the Handbook's split: its published figures come out, and the measures are what their words say."""

from itertools import islice

import numpy as np
import pytest

from benchmarks.handbook import (
    PUBLISHED,
    Judged,
    book_table,
    card_precision,
    dealt,
    federated_logits,
    published_days,
    replicated,
)
from fedfraud.metrics import scores_from_logits
from fedfraud.recipe import recipe_named
from services.bank_client.dataset import Rows
from simulation.cards import Payments


@pytest.fixture(scope="module")
def full(full_payments: Payments) -> Payments:
    return published_days(full_payments)


def test_logistic_regression_reaches_what_the_book_prints(full: Payments) -> None:
    for name, figures in islice(book_table(full), 2):  # the depth-2 tree too
        assert figures == pytest.approx(PUBLISHED[name], abs=0.005), name


@pytest.mark.parametrize("preset", ["national", "regional"])
def test_ten_banks_have_the_published_rows_and_learn_of_more_payments_from_summed_counters(
    full: Payments, preset: str
) -> None:
    own, shared = dealt(preset, full, shared=False), dealt(preset, full, shared=True)
    for banks in (own, shared):
        assert sum(len(bank.training) for bank in banks) == 67_240
        assert sum(bank.training.fraud_count for bank in banks) == 598
        pooled = Judged.pooled([bank.judged for bank in banks])
        assert (len(pooled.rows), pooled.rows.fraud_count) == (58_264, 385)
    seen = [np.mean([bank.training.features[:, 13].mean() for bank in banks]) for banks in (own, shared)]
    assert seen[1] > {"national": 5, "regional": 1.2}[preset] * seen[0]
    for one, other in zip(own, shared, strict=True):  # what customers did is the bank's own
        assert np.array_equal(one.training.features[:, :9], other.training.features[:, :9])
        assert (one.training.features[:, 13] <= other.training.features[:, 13]).all()


def test_a_few_rounds_of_the_recipe_need_summed_counters_where_all_banks_meet(full: Payments) -> None:
    recipe, precisions = recipe_named("cards"), {}
    for shared in (False, True):
        banks = dealt("national", full, shared=shared)
        scores = np.concatenate(federated_logits(banks, recipe, 5, 7))
        labels = np.concatenate([bank.judged.rows.labels for bank in banks])
        precisions[shared] = scores_from_logits(scores, labels).average_precision or 0.0
    assert precisions[True] > 0.55  # .007 is no skill; twenty rounds reach .60
    assert precisions[False] < 0.35


def judged(*rows: tuple[int, int, bool]) -> Judged:
    """Rows of (day, customer, fraud)."""
    day, customer, fraud = (np.array(column) for column in zip(*rows, strict=True))
    return Judged(Rows(np.zeros((len(rows), 0)), fraud.astype(np.bool_)), day, customer)


def test_card_precision_looks_at_a_card_once_a_day_and_not_again_once_it_was_found() -> None:
    seen = judged((1, 7, True), (1, 7, False), (1, 8, False), (1, 9, True), (2, 7, True), (2, 8, False), (2, 9, True))
    scores = np.array([0.9, 0.8, 0.7, 0.1, 0.9, 0.2, 0.1])
    # Day 1: cards 7 (found) and 8; day 2: 7 is known, so 8 and 9 (found).
    assert card_precision(seen, scores, budget=2) == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert card_precision(seen, scores, budget=1) == pytest.approx((1 + 0) / 2)


def test_replicates_draw_customers_and_the_same_ones_for_all_scores() -> None:
    scores = np.array([3.0, 2.0, 1.0, 0.0])
    one = replicated(judged(*((1, 5, fraud) for fraud in (True, False, True, False))), scores, 20)
    assert one.tolist() == pytest.approx([(1 + 2 / 3) / 2] * 20)  # of one customer there is one sample
    many = judged(*((1, i, i % 3 == 0) for i in range(300)))
    draws = np.random.RandomState(1).random_sample(300)
    first, second = replicated(many, draws, 50), replicated(many, 2 * draws, 50)
    assert np.array_equal(first, second)
    assert 0 < first.std() < 0.1
