"""How a model scores a bank's rows."""

from fedfraud.manifest import Manifest
from fedfraud.metrics import scores_from_logits
from fedfraud.model import RunState, Vector, calibrated_logits
from fedfraud.recipe import Recipe
from services.bank_client.dataset import Rows


def logits(manifest: Manifest, recipe: Recipe, run_state: RunState, vector: Vector, rows: Rows) -> Vector:
    """(rows,) calibrated logits: what an evaluate segment counts."""
    return calibrated_logits(manifest, run_state, vector, rows.features, logit_adjustment=recipe.logit_adjustment)


def average_precision(
    manifest: Manifest, recipe: Recipe, run_state: RunState, vector: Vector, rows: Rows
) -> float | None:
    """The model's average precision on the rows; None where they have one class."""
    return scores_from_logits(logits(manifest, recipe, run_state, vector, rows), rows.labels).average_precision
