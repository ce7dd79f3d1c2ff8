"""A logistic recalibration of a model's scores, fitted to counts of labels by score.

`slope * logit + intercept` in the logit's place, with the least log loss on the rows that were counted (Platt 1999,
"Probabilistic outputs for support vector machines", without his priors on the labels). The ranking stays.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedfraud.metrics import Counts

_STEPS = 100
_HALVINGS = 30
_CLOSE = 1e-13
"""How near 0 the squared Newton decrement a row must be."""
_LEAST_SLOPE = 1e-9


@dataclass(frozen=True)
class Recalibration:
    """`slope`, above 0, and `intercept`; `log_loss` is that of the rows that it was fitted on, with it."""

    slope: float
    intercept: float
    log_loss: float

    def logits(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """What stands in the place of these."""
        return self.slope * logits.astype(np.float64) + self.intercept


def fitted(logits: NDArray[np.float64], legitimate: Counts, fraud: Counts) -> Recalibration | None:
    """Of (bins,) legitimate and fraud counts, where (bins,) `logits` are each bin's score.

    None where the rows define none that keeps the ranking: rows of one class, scores that tell the classes apart
    without a fault or not at all, or frauds that score below legitimate rows. It is never worse than none on its rows.
    """
    kept = np.flatnonzero(legitimate + fraud)
    scores, good, bad = logits[kept], legitimate[kept], fraud[kept]
    if not good.sum() or not bad.sum() or np.flatnonzero(bad)[0] >= np.flatnonzero(good)[-1]:
        return None  # the best slope would be infinite
    rows = float((good + bad).sum())
    columns = np.stack([scores, np.ones(len(scores))])  # (2, bins)
    # From the share of frauds and not from the scores: where these are far off the curvature vanishes.
    at = np.array([0.0, float(np.log(bad.sum() / good.sum()))])
    loss = log_loss(at @ columns, good, bad)
    for _ in range(_STEPS):
        probability = np.exp(-np.logaddexp(0, -(at @ columns)))
        gradient = columns @ ((good + bad) * probability - bad) / rows
        curvature = (columns * ((good + bad) * probability * (1 - probability) / rows)) @ columns.T
        try:
            step = np.linalg.solve(curvature, gradient)
        except np.linalg.LinAlgError:
            return None
        if gradient @ step < _CLOSE:
            at = at - step
            best = Recalibration(float(at[0]), float(at[1]), log_loss(at @ columns, good, bad))
            return best if best.slope > _LEAST_SLOPE else None
        for _ in range(_HALVINGS):  # far from the best a whole step may go too far
            tried = log_loss((at - step) @ columns, good, bad)
            if tried <= loss:
                break
            step = step / 2
        else:
            return None
        at, loss = at - step, tried
    return None


def log_loss(logits: NDArray[np.float64], legitimate: Counts, fraud: Counts) -> float:
    """The mean negative log likelihood of the labels, in nats, of (bins,) counts with these scores."""
    total = (fraud * np.logaddexp(0, -logits) + legitimate * np.logaddexp(0, logits)).sum()
    return float(total / (fraud + legitimate).sum())
