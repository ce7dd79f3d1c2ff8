"""Figures of the trade: what they say of small numbers, scikit-learn's where it has them, and intervals."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score, roc_curve

from fedfraud.fixed_point import EvaluateCodec
from fedfraud.metrics import counts_of_logits
from fedfraud.trade import ADMIN_CENTS, REPLICATE_BINS, BudgetField, DayField, Trade, TradeCounts
from fedfraud.trade_codec import TradeCodec
from fedfraud.trade_metrics import (
    BudgetFigures,
    RankFigures,
    budget_figures,
    rank_figures,
    recall_at_false_alarm_rate,
    savings,
    trade_figures,
)


def scored(rows: int = 5_000, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) logits and labels, calibrated by construction."""
    draws = np.random.RandomState(seed)
    logits = 2 * draws.normal(size=rows) - 4
    return logits, draws.random_sample(rows) < 1 / (1 + np.exp(-logits))


def test_ranking_and_brier_are_scikit_learns() -> None:
    logits, labels = scored()
    figures = rank_figures(*counts_of_logits(logits, labels))
    probability = 1 / (1 + np.exp(-logits))
    assert figures.average_precision == pytest.approx(average_precision_score(labels, logits), abs=1e-12)
    assert figures.roc_auc == pytest.approx(roc_auc_score(labels, logits), abs=1e-12)
    assert figures.brier == pytest.approx(brier_score_loss(labels, probability), abs=1e-12)
    assert figures.calibration == pytest.approx(probability.sum() / labels.sum(), abs=1e-12)
    alarms, recalls, _ = roc_curve(labels, logits, drop_intermediate=False)
    for rate, got in ((0.01, "one"), (0.05, "five")):
        expected = recalls[np.flatnonzero(alarms <= rate)[-1]]
        assert getattr(figures, f"recall_at_{got}_percent_false_alarms") == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(("rate", "name"), [(0.001, "tenth"), (0.005, "half"), (0.01, "one")])
def test_recall_and_precision_at_an_alert_rate_are_those_of_the_highest_scores(rate: float, name: str) -> None:
    logits, labels = scored()
    figures = rank_figures(*counts_of_logits(logits, labels))
    alerts = labels[np.argsort(-logits)[: round(rate * len(labels))]]
    assert getattr(figures, f"recall_at_{name}_percent") == pytest.approx(alerts.sum() / labels.sum(), abs=1e-9)
    assert getattr(figures, f"precision_at_{name}_percent") == pytest.approx(alerts.mean(), abs=1e-9)


def test_figures_of_a_histogram_are_close_to_those_of_the_rows() -> None:
    logits, labels = scored(50_000)
    exact = rank_figures(*counts_of_logits(logits, labels))
    for bins, apart in ((8192, 0.002), (REPLICATE_BINS, 0.006)):
        codec = EvaluateCodec(bins)
        binned = rank_figures(codec.centres(), *codec.decode(codec.encode(logits, labels)))
        for name, value in vars(exact).items():
            assert getattr(binned, name) == pytest.approx(value, abs=apart), name


def test_recall_at_a_false_alarm_rate_takes_the_frauds_above_the_threshold() -> None:
    # From the top: two frauds, one legitimate, one fraud, nine legitimate.
    legitimate, fraud = np.array([9, 0, 1, 0]), np.array([0, 1, 0, 2])
    assert recall_at_false_alarm_rate(legitimate, fraud, 0.0) == pytest.approx(2 / 3)
    assert recall_at_false_alarm_rate(legitimate, fraud, 0.1) == pytest.approx(1)
    assert recall_at_false_alarm_rate(legitimate, fraud, 0.05) == pytest.approx((2 + 0.5) / 3)


def day(*values: int) -> list[int]:
    return list(values)


def test_a_budgets_figures_can_be_reckoned_in_the_head() -> None:
    # Payments, frauds, cents, frauds' cents, cards, cards with a fraud; two days, the second without a fraud.
    days = np.array([day(100, 4, 500_000, 40_000, 50, 4), day(100, 0, 500_000, 0, 50, 0)])
    # Alerts, hits, cents stopped, cards alerted, found, cards with a fraud that were not found before.
    budgets = np.array([day(10, 2, 30_000, 10, 3, 4), day(10, 0, 0, 10, 0, 0)])
    figures = budget_figures(days, budgets)
    assert figures.card_precision == pytest.approx((0.3 + 0) / 2)
    assert figures.card_recall == pytest.approx(0.75)  # of the one day that had a card to find
    assert figures.precision == pytest.approx(2 / 20)
    assert figures.recall == pytest.approx(2 / 4)
    assert figures.false_alarms_per_hit == pytest.approx(18 / 2)
    assert figures.value_detection_rate == pytest.approx(0.75)
    cost = 20 * ADMIN_CENTS + 10_000
    assert figures.savings == pytest.approx(1 - cost / 40_000)  # no alerts would cost 400, all of them 500 euro


def test_savings_are_against_the_cheaper_of_no_alerts_and_all() -> None:
    assert savings(10, 100_000, 10, 100_000, 250) == 0  # an alert on every payment is the cheaper one, and this is it
    assert savings(1_000, 100_000, 0, 0, 250) == 0
    assert savings(1_000, 100_000, 4, 100_000, 250) == pytest.approx(0.99)
    assert savings(1_000, 100_000, 800, 0, 250) == -2
    assert savings(0, 0, 0, 0, 250) is None


def slow_savings(fraud: np.ndarray, alert: np.ndarray, cents: np.ndarray) -> float:
    """A cost a payment, as Bahnsen's matrix has it."""

    def cost(alerted: np.ndarray) -> float:
        return float(np.where(alerted, ADMIN_CENTS, np.where(fraud, cents, 0)).sum())

    return 1 - cost(alert) / min(cost(np.zeros_like(alert)), cost(np.ones_like(alert)))


def test_savings_are_those_of_a_cost_a_payment() -> None:
    draws = np.random.RandomState(7)
    for _ in range(20):
        fraud, alert = draws.random_sample(200) < 0.2, draws.random_sample(200) < 0.3
        cents = draws.randint(0, 5_000, 200)
        stopped = int(cents[fraud & alert].sum())
        got = savings(200, int(cents[fraud].sum()), int(alert.sum()), stopped, ADMIN_CENTS)
        assert got == pytest.approx(slow_savings(fraud, alert, cents))


def test_what_payments_do_not_define_is_none() -> None:
    assert rank_figures(np.array([0.0]), np.array([3]), np.array([0])) == RankFigures()
    nothing = budget_figures(np.zeros((2, len(DayField)), np.int64), np.zeros((2, len(BudgetField)), np.int64))
    assert nothing == BudgetFigures()


def test_intervals_are_percentiles_of_the_replicates() -> None:
    codec = TradeCodec(1)
    shape = (codec.replicates, 1, 1, len(BudgetField))
    spent = np.zeros(shape, np.int64)
    spent[:, 0, 0, BudgetField.ALERTS] = 10
    spent[:, 0, 0, BudgetField.HITS] = np.arange(codec.replicates) % 11
    days = np.zeros((codec.replicates, 1, len(DayField)), np.int64)
    days[..., DayField.FRAUDS] = 20
    counts = TradeCounts(np.zeros((1, len(DayField)), np.int64), np.zeros((1, 5, len(BudgetField)), np.int64))
    histograms = np.zeros((codec.replicates, 2, codec.bins), np.int64)
    histograms[:, 0, 0], histograms[: codec.replicates // 3, 1, -1] = 5, 5
    logits, labels = np.array([-1.0, 1.0]), np.array([10, 10])
    figures = trade_figures(logits, labels, labels, Trade(counts, histograms, TradeCounts(days, spent)))
    low, high = np.percentile(np.arange(codec.replicates) % 11 / 10, [2.5, 97.5])
    assert (figures.budget_low.precision, figures.budget_high.precision) == pytest.approx((low, high))
    assert (figures.rank.average_precision, figures.rank.roc_auc) == (0.5, 0.5)
    assert figures.rank_low.average_precision is None  # a third of the replicates alone has both classes
    assert figures.budget.precision is None
    assert figures.replicate_count == codec.replicates
