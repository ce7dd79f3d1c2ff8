"""A logistic recalibration from counts: scikit-learn's on single rows, never worse on its rows, or none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from fedfraud.calibration import fitted, log_loss
from fedfraud.fixed_point import EvaluateCodec
from fedfraud.metrics import counts_of_logits, scores_from_counts

CODEC = EvaluateCodec()


def drawn(slope: float, intercept: float) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) logits and labels, of which `slope * logit + intercept` are the true log-odds."""
    draws = np.random.default_rng(7)
    logits = draws.normal(-3, 2, 20_000)
    return logits, draws.random(20_000) < 1 / (1 + np.exp(-(slope * logits + intercept)))


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, -1.0), (2.0, 1.0)])
def test_it_is_scikit_learns_logistic_regression_on_single_rows(slope: float, intercept: float) -> None:
    logits, labels = drawn(slope, intercept)
    found = fitted(*counts_of_logits(logits, labels))
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logits[:, None], labels)
    assert found is not None
    assert found.slope == pytest.approx(oracle.coef_[0, 0], abs=1e-4)
    assert found.intercept == pytest.approx(oracle.intercept_[0], abs=1e-4)
    assert found.slope == pytest.approx(slope, rel=0.1)


def test_a_histogram_gives_nearly_the_same_as_single_rows() -> None:
    logits, labels = drawn(0.5, -1.0)
    exact = fitted(*counts_of_logits(logits, labels))
    binned = fitted(CODEC.centres(), *CODEC.decode(CODEC.encode(logits, labels)))
    assert exact is not None
    assert binned is not None
    assert binned.slope == pytest.approx(exact.slope, abs=1e-3)
    assert binned.intercept == pytest.approx(exact.intercept, abs=1e-3)
    assert binned.log_loss == pytest.approx(exact.log_loss, abs=1e-4)


def test_two_scores_are_put_where_their_shares_are() -> None:
    logits, legitimate, fraud = np.array([-60.0, 60.0]), np.array([5, 1]), np.array([1, 5])
    found = fitted(logits, legitimate, fraud)
    assert found is not None
    assert (found.slope, found.intercept) == pytest.approx((np.log(5) / 60, 0.0), abs=1e-9)
    assert found.logits(logits).tolist() == pytest.approx([-np.log(5), np.log(5)])


@pytest.mark.parametrize(
    ("legitimate", "fraud"),
    [
        ([5, 5, 0, 0], [0, 0, 0, 0]),  # one class
        ([0, 0, 0, 0], [1, 0, 0, 2]),
        ([0, 0, 0, 0], [0, 0, 0, 0]),
        ([5, 5, 0, 0], [0, 0, 3, 3]),  # apart without a fault
        ([5, 5, 0, 0], [0, 3, 3, 0]),  # but for a tie
        ([0, 5, 0, 0], [0, 3, 0, 0]),  # one score
        ([1, 1, 9, 9], [9, 9, 1, 1]),  # frauds below
        ([3, 3, 3, 3], [1, 1, 1, 1]),  # nothing to tell them by
    ],
)
def test_where_the_rows_define_none_there_is_none(legitimate: list[int], fraud: list[int]) -> None:
    assert fitted(np.array([-2.0, -1.0, 1.0, 2.0]), np.array(legitimate), np.array(fraud)) is None


def test_its_log_loss_is_that_of_the_scores_it_gives_and_the_metrics_one() -> None:
    counts = counts_of_logits(*drawn(2.0, 1.0))
    found = fitted(*counts)
    assert found is not None
    assert found.log_loss == pytest.approx(scores_from_counts(found.logits(counts[0]), *counts[1:]).log_loss, rel=1e-12)
    assert log_loss(*counts) == pytest.approx(scores_from_counts(*counts).log_loss, rel=1e-12)


counted = st.lists(
    st.tuples(st.integers(0, CODEC.bins - 1), st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=12
)


@given(counted)
def test_it_is_never_worse_than_none_and_never_turns_the_ranking(bins: list[tuple[int, int, int]]) -> None:
    legitimate, fraud = np.zeros((2, CODEC.bins), np.int64)
    for place, good, bad in bins:
        legitimate[place], fraud[place] = good, bad
    found = fitted(CODEC.centres(), legitimate, fraud)
    if found is not None:
        assert found.slope > 0
        assert found.log_loss <= log_loss(CODEC.centres(), legitimate, fraud) + 1e-12
        assert np.isfinite([found.slope, found.intercept]).all()
