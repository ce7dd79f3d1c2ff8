"""Figures from counts: equal to scikit-learn's on single rows, and close to them from a histogram's bins."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, log_loss, roc_auc_score

from benchmarks.federation import federate
from benchmarks.recipes import MANIFEST, training_rows
from fedfraud.fixed_point import BINS, EvaluateCodec
from fedfraud.metrics import (
    ALERT_RATES,
    LEAST_STEP,
    CurvePoint,
    average_precision,
    counts_of_logits,
    curve_from_counts,
    recall_at_alert_rate,
    roc_auc,
    scores_from_counts,
    scores_from_logits,
)
from fedfraud.model import calibrated_logits
from fedfraud.recipe import recipe_named
from services.aggregator.averaging import exact_sum
from simulation import tutorial

FALSE_TRUE = np.array([False, True])


def counts(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.fixture(scope="module")
def scored() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(rows,) calibrated logits and labels of the hold-out: an untrained model, then after one and ten rounds."""
    torch.set_num_threads(1)
    features, labels = tutorial.holdout(7)
    banks = training_rows(7, 10)
    found = {}
    for name in ("tutorial", "default"):
        recipe = recipe_named(name)
        models = list(federate(MANIFEST, recipe, 7, banks, 10))
        for rounds in (0, 1, 10):
            state, vector = models[rounds].run_state, models[rounds].vector
            adjusted = recipe.logit_adjustment
            logits = calibrated_logits(MANIFEST, state, vector, features, logit_adjustment=adjusted)
            found[f"{name} after {rounds}"] = logits, labels
    return found


MODELS = [f"{name} after {rounds}" for name in ("tutorial", "default") for rounds in (0, 1, 10)]


@pytest.mark.parametrize("name", MODELS)
def test_exact_figures_are_scikit_learns(scored: dict[str, tuple[np.ndarray, np.ndarray]], name: str) -> None:
    logits, labels = scored[name][0].astype(np.float64), scored[name][1]
    scores = scores_from_logits(logits, labels)
    probabilities = 1 / (1 + np.exp(-logits))
    assert scores.average_precision == pytest.approx(average_precision_score(labels, logits), abs=1e-9)
    assert scores.roc_auc == pytest.approx(roc_auc_score(labels, logits), abs=1e-9)
    assert scores.log_loss == pytest.approx(log_loss(labels, probabilities), abs=1e-9)
    assert scores.accuracy == pytest.approx(accuracy_score(labels, logits >= 0), abs=1e-9)
    assert scores.accuracy_always_legitimate == pytest.approx(1 - labels.mean(), abs=1e-9)
    assert (scores.row_count, scores.fraud_count) == (12_000, labels.sum())


@pytest.mark.parametrize("name", MODELS)
def test_a_histograms_figures_are_within_two_thousandths(
    scored: dict[str, tuple[np.ndarray, np.ndarray]], name: str
) -> None:
    logits, labels = scored[name]
    codec = EvaluateCodec()
    parts = np.array_split(np.arange(len(labels)), 10)
    words = exact_sum((codec.encode(logits[part], labels[part]) for part in parts), codec.length)
    scores = scores_from_counts(codec.centres(), *codec.decode(words))
    exact = scores_from_logits(logits, labels)
    assert scores.average_precision == pytest.approx(average_precision_score(labels, logits), abs=0.002)
    assert scores.roc_auc == pytest.approx(roc_auc_score(labels, logits), abs=0.002)
    assert scores.recall_at_half_percent == pytest.approx(exact.recall_at_half_percent, abs=0.01)
    assert scores.recall_at_one_percent == pytest.approx(exact.recall_at_one_percent, abs=0.01)
    assert scores.log_loss == pytest.approx(exact.log_loss, abs=1e-4)
    assert (scores.accuracy, scores.flagged_count) == (exact.accuracy, exact.flagged_count)


@given(
    st.lists(st.integers(-8, 8), min_size=2, max_size=60).flatmap(
        lambda logits: st.tuples(st.just(logits), st.lists(st.booleans(), min_size=len(logits), max_size=len(logits)))
    )
)
def test_ranking_figures_are_scikit_learns_with_many_ties(drawn: tuple[list[int], list[bool]]) -> None:
    logits, labels = np.array(drawn[0], np.float64), np.array(drawn[1], np.bool_)
    scores = scores_from_logits(logits, labels)
    if labels.all() or not labels.any():
        assert scores.average_precision is scores.roc_auc is None
    else:
        assert scores.average_precision == pytest.approx(average_precision_score(labels, logits), abs=1e-9)
        assert scores.roc_auc == pytest.approx(roc_auc_score(labels, logits), abs=1e-9)
    # No bin is as wide as 1: it holds one whole number alone.
    codec = EvaluateCodec()
    binned = scores_from_counts(codec.centres(), *codec.decode(codec.encode(logits, labels)))
    assert binned.average_precision == scores.average_precision
    assert binned.roc_auc == scores.roc_auc


def test_rows_are_counted_by_their_distinct_scores_and_all_nan_are_one() -> None:
    logits = np.array([2, np.nan, -1, 2, -np.inf, np.nan, 2], np.float32)
    labels = np.array([True, True, False, False, False, False, True])
    values, legitimate, fraud = counts_of_logits(logits, labels)
    assert np.array_equal(values, [-np.inf, -1, 2, np.nan], equal_nan=True)
    assert values.dtype == np.float64
    assert (legitimate.tolist(), fraud.tolist()) == ([1, 1, 1, 1], [0, 0, 2, 1])


def test_average_precision_steps_through_the_scores_from_the_top() -> None:
    # Of the top bin's two rows one is fraud, of all four two: 1/2 * 1/2 + 1/2 * 2/4.
    assert average_precision(counts(1, 1), counts(1, 1)) == 0.5
    assert average_precision(counts(2, 0), counts(0, 2)) == 1.0


def test_roc_auc_counts_ties_half() -> None:
    assert roc_auc(counts(1), counts(1)) == 0.5
    assert roc_auc(counts(1, 1), counts(0, 1)) == 0.75  # one legitimate row below, one tied


def test_recall_at_an_alert_rate_takes_the_highest_scores() -> None:
    # Ten rows, frauds at rank 1 and rank 3.
    legitimate, fraud = counts(7, 0, 1, 0), counts(0, 1, 0, 1)
    assert recall_at_alert_rate(legitimate, fraud, 0.1) == 0.5
    assert recall_at_alert_rate(legitimate, fraud, 0.3) == 1.0
    assert recall_at_alert_rate(counts(8), counts(2), 0.5) == 0.5  # in one bin rows are in random order


@pytest.mark.parametrize("below", [-0.5, -1e-30])
def test_a_row_with_probability_one_half_is_flagged_and_none_below(below: float) -> None:
    assert scores_from_logits(np.array([below, 0.0]), FALSE_TRUE).flagged_count == 1
    words = EvaluateCodec().encode(np.array([below, 0.0]), FALSE_TRUE)
    scores = scores_from_counts(EvaluateCodec().centres(), *EvaluateCodec().decode(words))
    assert (scores.flagged_count, scores.accuracy) == (1, 1.0)


def test_a_bins_centre_counts_in_its_own_bin() -> None:
    centres = EvaluateCodec().centres()
    assert (np.diff(centres) > 0).all()
    legitimate, fraud = EvaluateCodec().decode(EvaluateCodec().encode(centres, np.ones(BINS, np.bool_)))
    assert (fraud == 1).all()
    assert not legitimate.any()


def test_scores_beyond_the_range_count_in_the_outermost_bins() -> None:
    legitimate, fraud = EvaluateCodec().decode(EvaluateCodec().encode(np.array([-1e6, 1e6]), FALSE_TRUE))
    assert (legitimate[0], fraud[BINS - 1]) == (1, 1)
    assert legitimate.sum() == fraud.sum() == 1


@pytest.mark.parametrize("label", [False, True])
def test_rows_of_one_class_have_a_loss_and_an_accuracy_but_no_ranking(label: bool) -> None:
    scores = scores_from_logits(np.array([-1.0, 1.0]), np.array([label, label]))
    assert scores.accuracy == 0.5
    assert scores.log_loss == pytest.approx((np.log1p(np.exp(1)) + np.log1p(np.exp(-1))) / 2)
    assert scores.average_precision is scores.roc_auc is scores.recall_at_one_percent is None


def test_no_rows_have_no_figures() -> None:
    scores = scores_from_logits(np.zeros(0), np.zeros(0, np.bool_))
    assert (scores.row_count, scores.prevalence) == (0, None)
    assert set(asdict(scores).values()) == {0, None}


def test_a_curve_counts_alerts_and_hits_from_the_highest_score_down() -> None:
    logits = np.array([-2.0, 0.0, 2.0])
    curve = curve_from_counts(logits, counts(900, 60, 10), counts(0, 10, 20))
    assert [(point.logit, point.alert_count, point.hit_count) for point in curve] == [
        (2.0, 30, 20),
        (0.0, 100, 30),
        (-2.0, 1000, 30),
    ]
    assert curve[0].expected_hit_count == pytest.approx(30 / (1 + np.exp(-2)))
    assert curve[1].expected_hit_count == pytest.approx(30 / (1 + np.exp(-2)) + 70 / 2)


def test_no_step_of_a_curve_tells_of_fewer_rows_than_the_least_step() -> None:
    logits = np.linspace(0, 50, 5000)
    legitimate, fraud = np.ones(5000, np.int64), (np.arange(5000) > 4900).astype(np.int64)
    alerts = [point.alert_count for point in curve_from_counts(logits, legitimate, fraud)]
    assert np.diff([0, *alerts]).min() >= LEAST_STEP
    assert alerts[-1] == 5099
    assert len(alerts) <= 100


def test_a_curve_has_the_most_alerts_within_each_alert_rate() -> None:
    rows = 20_000
    curve = curve_from_counts(np.arange(rows, dtype=np.float64), np.ones(rows, np.int64), np.zeros(rows, np.int64))
    assert {round(rate * rows) for rate in ALERT_RATES} <= {point.alert_count for point in curve}


def test_without_rows_there_is_no_curve_and_with_few_it_is_one_point() -> None:
    assert curve_from_counts(np.array([0.0]), counts(0), counts(0)) == ()
    assert curve_from_counts(np.array([-800.0, 800.0]), counts(1, 0), counts(0, 1)) == (CurvePoint(-800.0, 2, 1, 1.0),)


def test_scores_of_a_model_that_overflows_have_the_log_loss_that_they_deserve() -> None:
    right, wrong = np.array([-np.inf, 0.0, np.inf]), np.array([np.inf, 0.0, -np.inf])
    labels = np.array([False, True, True])
    with np.errstate(all="raise"):
        assert scores_from_logits(right, labels).log_loss == pytest.approx(np.log(2) / 3)
        assert scores_from_logits(wrong, labels).log_loss == np.inf
