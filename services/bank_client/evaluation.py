"""How a model scores a bank's rows."""

import numpy as np

from fedfraud.manifest import Manifest
from fedfraud.metrics import scores_from_logits
from fedfraud.model import RunState, Vector, calibrated_logits, standardised_logits
from fedfraud.recipe import Recipe
from services.bank_client.dataset import BLOCK_ROWS, Rows


def logits(manifest: Manifest, recipe: Recipe, run_state: RunState, vector: Vector, rows: Rows) -> Vector:
    """(rows,) calibrated logits: what an evaluate segment counts."""
    adjusted, found = recipe.logit_adjustment, np.empty(len(rows), np.float32)
    for start in range(0, len(rows), BLOCK_ROWS):  # the hidden layers of all rows at once are many times their size
        block = slice(start, start + BLOCK_ROWS)
        found[block] = calibrated_logits(manifest, run_state, vector, rows.features[block], logit_adjustment=adjusted)
    return found


class Validation:
    """Rows to score one model of a run after the other on; few of them are standardised once, and not each time."""

    def __init__(self, manifest: Manifest, recipe: Recipe, run_state: RunState, rows: Rows) -> None:
        self._manifest, self._recipe, self._run_state = manifest, recipe, run_state
        self._rows = run_state.standardise(rows.features) if len(rows) <= BLOCK_ROWS else rows

    def logits(self, vector: Vector) -> Vector:
        """(rows,) the same calibrated logits."""
        if isinstance(self._rows, Rows):
            return logits(self._manifest, self._recipe, self._run_state, vector, self._rows)
        adjusted = self._recipe.logit_adjustment
        return standardised_logits(self._manifest, self._run_state, vector, self._rows, logit_adjustment=adjusted)


def average_precision(
    manifest: Manifest, recipe: Recipe, run_state: RunState, vector: Vector, rows: Rows
) -> float | None:
    """The model's average precision on the rows; None where they have one class."""
    return scores_from_logits(logits(manifest, recipe, run_state, vector, rows), rows.labels).average_precision
