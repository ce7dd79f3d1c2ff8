"""How a kept model scores a bank's rows: probability, decision at the bank's threshold, and reasons.

In float64 from the standardised float32 inputs on, which are those of training: a row's score is the same alone and
among a million to 1e-12. A run evaluates in float32, whose rounding is all that its scores differ by.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedfraud.errors import Misconfigured
from fedfraud.model import named_tensors
from fedfraud.transactions import SCHEMAS
from services.bank_client import attribution
from services.bank_client.attribution import Floats
from services.bank_client.kept_model import KeptModel
from services.bank_client.reasons import Reason, Reasons

SLACK = 1e-5
"""Logits this close below the threshold are alerts too: the threshold is a score in float32, and the payment that it
was taken from must be one."""


@dataclass(frozen=True)
class Scores:
    """(rows,) of the rows that were scored; `alerts` is None for a bank without a threshold, `reasons` are empty where
    none were asked for."""

    logits: Floats
    probabilities: Floats
    alerts: NDArray[np.bool_] | None
    reasons: list[tuple[Reason, ...]]


class Scorer:
    """One kept model, ready to score."""

    def __init__(self, kept: KeptModel) -> None:
        manifest, state = kept.manifest, kept.run_state
        if SCHEMAS.get(manifest.population) != manifest.features:
            raise Misconfigured(
                f"a kept model must have the features of {manifest.population[:40]!r} as this version knows them: "
                "it was kept by another version"
            )
        self.kept = kept
        tensors = named_tensors(manifest, kept.vector)
        self._layers = tuple(
            (
                tensors[f"layers.{layer}.weight"].astype(np.float64),
                tensors[f"layers.{layer}.bias"].astype(np.float64),
            )
            for layer in range(len(manifest.layer_sizes))
        )
        self._log_odds = float(np.float32(state.log_odds)) if kept.logit_adjustment else 0.0
        self._reasons = Reasons(manifest, state.means)

    @property
    def reason_count(self) -> int:
        """How many reasons a row has at the most."""
        return len(self._reasons.groups)

    def score(self, features: Floats, reason_count: int) -> Scores:
        """(rows, features) in the features' units; with so many reasons a row."""
        inputs = self.kept.run_state.standardise(features).astype(np.float64)
        logits = attribution.logits(self._layers, inputs) + self._log_odds
        threshold = self.kept.scoring.threshold
        alerts = None if threshold is None else logits >= threshold.logit - SLACK
        reasons: list[tuple[Reason, ...]] = []
        if reason_count:
            weights = self._reasons.weights(attribution.integrated_gradients(self._layers, inputs))
            reasons = [self._reasons.top(*row, reason_count) for row in zip(weights, features, strict=True)]
        return Scores(logits, np.exp(-np.logaddexp(0, -logits)), alerts, reasons)
