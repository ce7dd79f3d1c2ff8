"""How a model scores a bank's rows."""

import weakref
from dataclasses import replace

import numpy as np
import pytest

from fedfraud.manifest import Manifest
from fedfraud.model import RunState, Vector
from fedfraud.recipe import recipe_named
from fedfraud.transactions import Feature
from services.bank_client.dataset import Rows
from services.bank_client.evaluation import Validation, average_precision, logits

MANIFEST = Manifest("one", (Feature("amount", "euro", 1.0),), (1,))
RECIPE = recipe_named("tutorial")
IDENTITY: Vector = np.array([1, 0, 1, 0], np.float32)
"""relu(1 x + 0) * 1 + 0: the standardised amount is the logit where it is positive."""
STATE = RunState((10.0,), (2.0,), 98, 9, 1.0)


def rows(amounts: list[float], labels: list[bool]) -> Rows:
    return Rows(np.array(amounts)[:, None], np.array(labels, np.bool_))


def test_a_logit_is_of_the_standardised_row() -> None:
    data = rows([8, 10, 12, 20], [False, False, True, True])
    assert logits(MANIFEST, RECIPE, STATE, IDENTITY, data).tolist() == [0, 0, 1, 5]


def test_with_logit_adjustment_the_pooled_log_odds_are_added() -> None:
    adjusted = logits(MANIFEST, replace(RECIPE, logit_adjustment=True), STATE, IDENTITY, rows([12, 20], [False, True]))
    assert adjusted == pytest.approx([1 - np.log(9), 5 - np.log(9)], abs=1e-6)  # 10 frauds to 90 others


@pytest.mark.parametrize("count", [0, 3, 65_536, 65_537])
def test_rows_for_validation_have_the_same_logits_under_one_model_after_the_other(count: int) -> None:
    amounts, recipe = np.random.default_rng(count).normal(10, 5, count), replace(RECIPE, logit_adjustment=True)
    some = Rows(amounts[:, None], amounts > 15)
    validation = Validation(MANIFEST, recipe, STATE, some)
    for vector in (IDENTITY, 2 * IDENTITY):
        expected = logits(MANIFEST, recipe, STATE, vector, some)
        assert validation.logits(vector).tobytes() == expected.tobytes()


def test_few_rows_for_validation_are_not_kept_beside_what_they_were_standardised_to() -> None:
    some = rows([8, 10, 12], [False, False, True])
    features, validation = weakref.ref(some.features), Validation(MANIFEST, RECIPE, STATE, some)
    del some
    assert features() is None
    assert validation.logits(IDENTITY).tolist() == [0, 0, 1]


def test_average_precision_of_a_ranking_one_can_check() -> None:
    # By falling score: fraud, legitimate, fraud: (1/1 + 2/3) / 2.
    data = rows([18, 16, 14], [True, False, True])
    assert average_precision(MANIFEST, RECIPE, STATE, IDENTITY, data) == pytest.approx(5 / 6)


@pytest.mark.parametrize("labels", [[False, False], [True, True]])
def test_one_class_has_no_average_precision(labels: list[bool]) -> None:
    assert average_precision(MANIFEST, RECIPE, STATE, IDENTITY, rows([12, 14], labels)) is None


def test_no_rows_have_no_logits_and_no_average_precision() -> None:
    nothing = Rows(np.zeros((0, 1)), np.zeros(0, np.bool_))
    assert logits(MANIFEST, RECIPE, STATE, IDENTITY, nothing).shape == (0,)
    assert average_precision(MANIFEST, RECIPE, STATE, IDENTITY, nothing) is None


def test_many_rows_are_scored_in_blocks_and_none_is_left_out() -> None:
    amounts = np.arange(200_001, dtype=np.float64)
    many = Rows(amounts[:, None], amounts % 100 == 0)
    assert np.array_equal(logits(MANIFEST, RECIPE, STATE, IDENTITY, many), np.maximum((amounts - 10) / 2, 0))
