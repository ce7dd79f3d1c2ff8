"""How well scores rank and calibrate, from counts of labels by rising score.

A histogram's bins and the distinct scores of single rows are the same thing here, so that summed histograms and exact
scores go through one piece of code. Average precision is the sum over thresholds of precision times the step in recall
(as in scikit-learn's `average_precision_score`); rows of one bin share one threshold.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


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


def scores_from_logits(logits: NDArray[np.floating], labels: NDArray[np.bool_]) -> Scores:
    """Exact figures of (rows,) logits against (rows,) labels."""
    values, index = np.unique(logits, return_inverse=True)
    fraud = np.bincount(index[labels], minlength=len(values))
    legitimate = np.bincount(index[~labels], minlength=len(values))
    return scores_from_counts(values.astype(np.float64), legitimate, fraud)


def scores_from_counts(logits: NDArray[np.float64], legitimate: Counts, fraud: Counts) -> Scores:
    """Figures of (bins,) legitimate and fraud counts, where (bins,) `logits` rise and are each bin's score."""
    frauds, rows = int(fraud.sum()), int(fraud.sum() + legitimate.sum())
    flagged = logits >= 0
    flagged_count = int((fraud + legitimate)[flagged].sum())
    if rows == 0:
        return Scores(0, 0, 0)
    right = int(fraud[flagged].sum() + legitimate[~flagged].sum())
    # -log p(fraud) = log(1 + e^-z) and -log p(legitimate) = log(1 + e^z)
    loss = float((fraud * np.logaddexp(0, -logits) + legitimate * np.logaddexp(0, logits)).sum() / rows)
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
