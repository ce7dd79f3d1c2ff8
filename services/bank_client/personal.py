"""The final model fine-tuned on a bank's own rows, kept where the bank's own validation gains: none of it leaves.

The choice is made on some of the validation rows and told with the figures of the others, which it did not see: of a
table every other row, of payments the first days and the days after them.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedfraud.errors import FedfraudError
from fedfraud.identity import write_secret
from fedfraud.logs import Log
from fedfraud.manifest import Manifest
from fedfraud.metrics import scores_from_logits
from fedfraud.model import RunState, Vector, model_sha256, to_bytes
from fedfraud.recipe import Recipe
from services.bank_client import evaluation, kept_model, own_trade
from services.bank_client.dataset import Rows
from services.bank_client.seeds import personal_seed

FILE = "personal.json"
NAME = "personal"
"""What the variant is called beside the federated one."""


@dataclass(frozen=True)
class Compared:
    """Average precision of the federated and of the fine-tuned model on the same rows; None where these are of one
    class."""

    rows: int
    frauds: int
    federated: float | None
    personal: float | None


@dataclass(frozen=True)
class Personal:
    """A fine-tuned model, its hash and its (validation rows,) logits: `chosen_on` some of them, `measured_on` the
    others."""

    vector: Vector
    sha256: bytes
    logits: Vector
    chosen_on: Compared
    measured_on: Compared

    @property
    def kept(self) -> bool:
        """Whether it is better on the rows that the choice is made on; where nobody can tell it is not."""
        federated, own = self.chosen_on.federated, self.chosen_on.personal
        return federated is not None and own is not None and own > federated


@dataclass(frozen=True)
class Federated:
    """A run's final model as a bank received it."""

    manifest: Manifest
    recipe: Recipe
    run_state: RunState
    vector: Vector
    sha256: bytes

    def logits(self, vector: Vector, rows: Rows) -> Vector:
        """(rows,) calibrated logits of this vector under the model's run state."""
        return evaluation.logits(self.manifest, self.recipe, self.run_state, vector, rows)


def personalised(
    federated: Federated,
    training: Rows,
    validation: Rows,
    for_choice: NDArray[np.bool_],
    run_seed: int,
    seat: str,
    cancelled: Callable[[], bool],
    device: str = "cpu",
) -> Personal:
    """As one more round of the recipe, with nobody to average with; `for_choice` (validation rows,).

    Raises Cancelled."""
    from services.bank_client.training import Trainer  # torch takes seconds to import: not where nothing is trained

    trainer = Trainer(federated.manifest, federated.recipe, federated.run_state, training, device)
    vector = trainer.train(federated.vector, personal_seed(run_seed, seat, federated.sha256), cancelled)
    before, after = federated.logits(federated.vector, validation), federated.logits(vector, validation)
    return Personal(
        vector,
        model_sha256(federated.manifest, federated.run_state, vector),
        after,
        compared(before[for_choice], after[for_choice], validation.labels[for_choice]),
        compared(before[~for_choice], after[~for_choice], validation.labels[~for_choice]),
    )


def compared(federated: Vector, personal: Vector, labels: NDArray[np.bool_]) -> Compared:
    """Of (rows,) logits of either model and (rows,) labels."""
    before, after = (scores_from_logits(logits, labels) for logits in (federated, personal))
    return Compared(before.row_count, before.fraud_count, before.average_precision, after.average_precision)


def keep(folder: Path, run_id: str, federated: Federated, found: Personal, labels: NDArray[np.bool_]) -> None:
    """Where it is kept it scores from now on, beside the federated model of the same run and under a threshold of its
    own; (validation rows,) `labels`."""
    if not found.kept:
        return
    log = Log("bank")
    try:
        kept = kept_model.load(folder)
    except FedfraudError as error:
        log.warning("the fine-tuned model is not kept: there is none to keep it beside", run=run_id, reason=error)
        return
    if (kept.run_id, kept.variants[0].model_sha256) != (run_id, federated.sha256):
        log.warning("the fine-tuned model is not kept: that on disk is of another run", run=run_id, kept=kept.run_id)
        return
    days = kept_model.day_count(federated.manifest, len(labels))
    threshold = own_trade.threshold(found.logits, labels, days, kept.alert_budget)
    variant = kept_model.Variant(NAME, to_bytes(found.vector), found.sha256, threshold)
    kept_model.keep(folder, replace(kept, variants=(kept.variants[0], variant)))


def tell(folder: Path, run_id: str, federated: Federated, found: Personal) -> None:
    """Writes beside the bank's rows what was compared and chosen; a disk that fails costs the file and nothing else."""
    content = {
        "run_id": run_id,
        "model_sha256": federated.sha256.hex(),
        "personal_sha256": found.sha256.hex(),
        "local_epochs": federated.recipe.local_epochs,
        "learning_rate": federated.recipe.learning_rate,
        "kept": found.kept,
        "chosen_on": asdict(found.chosen_on),
        "measured_on": asdict(found.measured_on),
    }
    log = Log("bank")
    try:
        write_secret(folder / FILE, (json.dumps(content, indent=2) + "\n").encode())
    except OSError as error:
        log.warning("what fine-tuning gains is not on disk", reason=error)
    log.info(
        "fine-tuned on own rows",
        kept=found.kept,
        model=found.sha256.hex()[:12],
        chosen_on=_printed(found.chosen_on),
        measured_on=_printed(found.measured_on),
    )


def _printed(found: Compared) -> str:
    federated, personal = ("-" if one is None else f"{one:.3f}" for one in (found.federated, found.personal))
    return f"{federated} to {personal} on {found.rows} rows"
