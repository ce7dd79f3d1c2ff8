"""A bank's own threshold and figures: for its own alert budget, on its own volume."""

import json
from pathlib import Path

import numpy as np
import pytest

from services.bank_client.own_trade import FILE, OwnTrade, keep, own_calibration, threshold
from services.bank_client.trade import Judged
from tests.fedfraud.trades import figures, payments, sums

SEED = bytes(32)


def test_a_threshold_gives_as_many_alerts_as_the_budget_and_no_more() -> None:
    logits = np.array([0.5, 3.0, 1.0, -2.0, 2.0, 0.0], np.float32)
    fraud = np.array([0, 1, 0, 1, 1, 0], np.bool_)
    found = threshold(logits, fraud, 2, 2)  # four alerts in two days
    assert found is not None
    assert (found.logit, found.alerts_a_day, found.precision, found.recall) == (0.5, 2.0, 0.5, 2 / 3)
    assert found.probability == pytest.approx(1 / (1 + np.exp(-0.5)))
    every = threshold(logits, fraud, 2, 100)
    assert every is not None
    assert (every.logit, every.alerts_a_day) == (-2.0, 3.0)


def test_payments_of_one_score_are_all_alerts_or_none() -> None:
    logits, fraud = np.array([2.0, 1.0, 1.0, 0.0]), np.array([True, False, False, False])
    found = threshold(logits, fraud, 1, 2)
    assert found is not None
    assert (found.logit, found.alerts_a_day) == (2.0, 1.0)
    assert threshold(np.ones(4), fraud, 1, 2) is None
    assert threshold(np.empty(0), np.empty(0, np.bool_), 1, 2) is None


def of(judged: Judged, budget: int = 10, seed: bytes = SEED) -> OwnTrade:
    return OwnTrade("run", bytes(32), judged, 3, budget, seed)


def test_a_bank_alone_has_the_figures_that_a_sum_over_it_alone_would_have() -> None:
    judged, scores = payments(7)
    own = of(judged, seed=bytes([7]) * 32).figures(scores)
    total = figures(sums((7,)))
    assert own.budget == total.budget
    assert own.rank == total.rank
    assert (own.budget_low, own.rank_high) == (total.budget_low, total.rank_high)
    assert of(judged, 40).figures(scores).budget.recall > own.budget.recall  # type: ignore[operator]  # both known


def test_a_calibration_is_fitted_on_the_first_days_and_measured_on_the_days_after() -> None:
    draws = np.random.RandomState(7)
    logits, day = draws.normal(-2, 2, 9_000), np.arange(9_000) // 3_000
    fraud = draws.random_sample(9_000) < 1 / (1 + np.exp(-(0.5 * logits - 1)))
    judged = Judged(day, np.arange(9_000), np.ones(9_000, np.int64), fraud)
    own = own_calibration(judged, logits, 3)
    assert own is not None
    assert (own.slope, own.intercept) == pytest.approx((0.5, -1.0), abs=0.1)
    assert (own.fitted_payments, own.payments) == (6_000, 3_000)
    assert (own.fitted_frauds, own.frauds) == (fraud[:6_000].sum(), fraud[6_000:].sum())
    assert own.recalibrated_log_loss < own.log_loss  # type: ignore[operator]  # both known
    changed = Judged(day, judged.card, judged.cents, np.where(day < 2, fraud, ~fraud))
    again = own_calibration(changed, logits, 3)
    assert again is not None
    assert (again.slope, again.intercept) == (own.slope, own.intercept)  # the days after are not looked at
    assert again.log_loss != own.log_loss


def test_without_both_classes_on_the_first_days_or_payments_after_them_no_calibration_is_told_that_is_not_known() -> (
    None
):
    judged, logits = payments(7)
    assert own_calibration(Judged(*judged[:3], judged.fraud & (judged.day > 1)), logits, 3) is None
    early = judged.day < 2
    day, card, cents, fraud = judged
    own = own_calibration(Judged(day[early], card[early], cents[early], fraud[early]), logits[early], 3)
    assert own is not None
    assert (own.payments, own.log_loss, own.recalibrated_log_loss) == (0, None, None)


def test_the_file_has_threshold_and_figures_with_their_intervals(tmp_path: Path) -> None:
    judged, scores = payments(7)
    keep(tmp_path, of(judged), scores)
    kept = json.loads((tmp_path / FILE).read_text())
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert (kept["run_id"], kept["alert_budget"], kept["days"], kept["payments"]) == ("run", 10, 3, 600)
    assert kept["threshold"]["alerts_a_day"] == pytest.approx(10, abs=0.5)
    assert kept["calibration"]["fitted_payments"] + kept["calibration"]["payments"] == 600
    for name, figure in kept["figures"].items():
        assert figure["low"] <= figure["value"] <= figure["high"], name
    assert {"card_precision", "savings", "average_precision", "brier"} < kept["figures"].keys()
    assert kept["alone"] is None  # not known yet


def test_alone_stands_beside_it_on_the_same_payments_days_and_replicates(tmp_path: Path) -> None:
    judged, scores = payments(7)
    keep(tmp_path, of(judged), scores, -scores)
    kept = json.loads((tmp_path / FILE).read_text())
    assert kept["alone"].keys() == kept["figures"].keys()
    assert kept["alone"]["savings"]["value"] < kept["figures"]["savings"]["value"]
    keep(tmp_path, of(judged), scores, scores)
    same = json.loads((tmp_path / FILE).read_text())
    assert same["alone"] == same["figures"] == kept["figures"]


def test_a_disk_that_fails_costs_the_file_and_nothing_else(tmp_path: Path) -> None:
    judged, scores = payments(7)
    keep(tmp_path / "none", of(judged), scores)
    assert not (tmp_path / "none").exists()
