"""How well scores rank and calibrate, from counts of labels by rising score.

A histogram's bins and the distinct scores of single rows are the same thing here, so that summed histograms and exact
scores go through one piece of code. Average precision is the sum over thresholds of precision times the step in recall
(as in scikit-learn's `average_precision_score`); rows of one bin share one threshold.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]

ALERT_RATES = (0.001, 0.005, 0.01)
"""Alert budgets that every curve has a threshold for, as shares of the rows."""
LEAST_STEP = 10
"""Rows between two thresholds of a curve: none of its steps tells of fewer."""
_GRID = (*ALERT_RATES, *np.geomspace(1e-4, 0.9, 90).tolist())


@dataclass(frozen=True)
class Scores:
    """Figures over labelled rows; None where the rows do not define a figure (no frauds, or frauds alone)."""

    row_count: int
    fraud_count: int
    flagged_count: int
    average_precision: float | None = None
    roc_auc: float | None = None
    recall_at_half_percent: float | None = None
    recall_at_one_percent: float | None = None
    log_loss: float | None = None
    accuracy: float | None = None
    accuracy_always_legitimate: float | None = None

    @property
    def prevalence(self) -> float | None:
        """The share of frauds: the average precision of no skill."""
        return self.fraud_count / self.row_count if self.row_count else None


@dataclass(frozen=True)
class CurvePoint:
    """One threshold: `alert_count` rows score at least `logit`, `hit_count` of them are frauds, and the model expects
    `expected_hit_count`."""

    logit: float
    alert_count: int
    hit_count: int
    expected_hit_count: float


def scores_from_logits(logits: NDArray[np.floating], labels: NDArray[np.bool_]) -> Scores:
    """Exact figures of (rows,) logits against (rows,) labels."""
    return scores_from_counts(*counts_of_logits(logits, labels))


def scores_from_counts(logits: NDArray[np.float64], legitimate: Counts, fraud: Counts) -> Scores:
    """Figures of (bins,) legitimate and fraud counts, where (bins,) `logits` rise and are each bin's score."""
    frauds, rows = int(fraud.sum()), int(fraud.sum() + legitimate.sum())
    flagged = logits >= 0
    flagged_count = int((fraud + legitimate)[flagged].sum())
    if rows == 0:
        return Scores(0, 0, 0)
    right = int(fraud[flagged].sum() + legitimate[~flagged].sum())
    # -log p(fraud) = log(1 + e^-z) and -log p(legitimate) = log(1 + e^z)
    loss = float((_softplus(-logits, fraud) + _softplus(logits, legitimate)).sum() / rows)
    both = 0 < frauds < rows
    return Scores(
        row_count=rows,
        fraud_count=frauds,
        flagged_count=flagged_count,
        average_precision=average_precision(legitimate, fraud) if both else None,
        roc_auc=roc_auc(legitimate, fraud) if both else None,
        recall_at_half_percent=recall_at_alert_rate(legitimate, fraud, 0.005) if both else None,
        recall_at_one_percent=recall_at_alert_rate(legitimate, fraud, 0.01) if both else None,
        log_loss=loss,
        accuracy=right / rows,
        accuracy_always_legitimate=1 - frauds / rows,
    )


def _softplus(values: NDArray[np.float64], counts: Counts) -> NDArray[np.float64]:
    """log(1 + e^value), so many times; most bins have no row of one label, and cost nothing."""
    each: NDArray[np.float64] = np.logaddexp(0, values, where=counts > 0, out=np.zeros(len(values)))
    return each * counts


def counts_of_logits(
    logits: NDArray[np.floating], labels: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], Counts, Counts]:
    """The distinct (bins,) scores of (rows,) logits, rising, and how many legitimate rows and frauds have each."""
    values, rows = np.unique(logits, return_counts=True)
    # Frauds are few: to look for their places is quicker than to sort all rows with where they came from.
    fraud = np.bincount(np.searchsorted(values, logits[labels]), minlength=len(values))
    return values.astype(np.float64), rows - fraud, fraud


def curve_from_counts(logits: NDArray[np.float64], legitimate: Counts, fraud: Counts) -> tuple[CurvePoint, ...]:
    """Thresholds by rising alert count: within each of ALERT_RATES and a grid of others, LEAST_STEP rows apart."""
    rows = fraud + legitimate
    kept = np.flatnonzero(rows)[::-1]
    if not len(kept):
        return ()
    alerts, hits = np.cumsum(rows[kept]), np.cumsum(fraud[kept])
    expected = np.cumsum(rows[kept] * np.exp(-np.logaddexp(0, -logits[kept])))
    chosen = [len(kept) - 1]
    for rate in _GRID:
        # The most alerts within the rate; a hair more, so that 0.005 of 1,000 rows is 5.
        place = int(np.searchsorted(alerts, rate * alerts[-1] * (1 + 1e-12), side="right")) - 1
        if place >= 0 and min(abs(alerts[place] - a) for a in (0, *alerts[chosen])) >= LEAST_STEP:
            chosen.append(place)
    return tuple(
        CurvePoint(float(logits[kept[i]]), int(alerts[i]), int(hits[i]), float(expected[i])) for i in sorted(chosen)
    )


def average_precision(legitimate: Counts, fraud: Counts) -> float:
    """Sum over thresholds, from the highest score down, of precision times the step in recall; 0 to 1."""
    hits = np.cumsum(fraud[::-1])
    alerts = np.cumsum((fraud + legitimate)[::-1])
    steps = fraud[::-1] > 0
    return float((hits[steps] / alerts[steps] * fraud[::-1][steps]).sum() / hits[-1])


def roc_auc(legitimate: Counts, fraud: Counts) -> float:
    """The chance that a fraud scores above a legitimate row, ties counted half; 0 to 1."""
    below = np.cumsum(legitimate) - legitimate
    return float((fraud * (below + legitimate / 2)).sum() / (float(fraud.sum()) * float(legitimate.sum())))


def recall_at_alert_rate(legitimate: Counts, fraud: Counts, rate: float) -> float:
    """The share of frauds among the `rate` of rows with the highest scores; inside a bin rows are in random order."""
    alerts = np.concatenate([[0], np.cumsum((fraud + legitimate)[::-1])])
    hits = np.concatenate([[0], np.cumsum(fraud[::-1])])
    return float(np.interp(rate * alerts[-1], alerts, hits) / hits[-1])
