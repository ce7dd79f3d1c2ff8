"""Trains the recipe on all simulated rows in one place and scores the public hold-out, to compare a run with.

No bank runs it and no run waits for it to begin: it is a process beside the network, at the lowest priority.
"""

import os
from pathlib import Path

import numpy as np

from fedfraud.central import Central, Purpose, read_central
from fedfraud.logs import Log
from fedfraud.manifest import Manifest
from fedfraud.metrics import Scores, scores_from_logits
from fedfraud.recipe import recipe_named
from fedfraud.transactions import HAVE_HOLDOUT, SCHEMAS
from services.bank_client import evaluation
from services.bank_client.dataset import Rows, split
from services.bank_client.write_shard import holdout_rows, shard_rows

SEAT = "central"
"""What its training is seeded with in a seat's place."""
_MOST_ROWS = 5_000_000
"""Training rows times epochs: some fifteen CPU seconds. A run of more goes without."""
_log = Log("central")


def write_central(purpose: Purpose, path: Path) -> None:
    """Writes what it is going to compute, then its scores; nothing where they are there, or are too much work."""
    recipe = recipe_named(purpose.recipe)
    if purpose.population not in HAVE_HOLDOUT:
        _log.info("central is left out: the population has no public hold-out", population=purpose.population)
        return
    known = read_central(path)
    if known is not None and known.purpose == purpose and known.scores is not None:
        _log.info("central is known", path=path)
        return
    os.nice(10)  # whoever takes part in the run goes first
    rows = training_rows(purpose)
    epochs = purpose.rounds * recipe.local_epochs
    if len(rows) * epochs > _MOST_ROWS:
        path.unlink(missing_ok=True)
        _log.info("central is left out: too much work beside a run", rows=len(rows), epochs=epochs)
        return
    Central(purpose=purpose).write(path)
    try:
        Central(purpose=purpose, scores=central_scores(purpose, rows)).write(path)
    except BaseException:
        path.unlink(missing_ok=True)  # nobody waits for what does not come
        raise
    _log.info("central is trained", rows=len(rows), epochs=epochs, path=path)


def training_rows(purpose: Purpose) -> Rows:
    """The training rows of all banks, one bank after the other: what the federation trains on, in one place."""
    slots = range(1, purpose.banks + 1)
    parts = [split(shard_rows(purpose.population, purpose.seed, slot))[0] for slot in slots]
    return Rows(np.concatenate([part.features for part in parts]), np.concatenate([part.labels for part in parts]))


def central_scores(purpose: Purpose, rows: Rows) -> Scores:
    """Trained as a bank trains alone: its own scaler, one optimiser, as many epochs as the run has."""
    from services.bank_client import training  # it imports torch: not where there is nothing to do

    recipe, manifest = recipe_named(purpose.recipe), Manifest(purpose.population, SCHEMAS[purpose.population])
    epochs = purpose.rounds * recipe.local_epochs
    state, vector = training.train_alone(manifest, recipe, epochs, rows, purpose.seed, SEAT)
    public = holdout_rows(purpose.population, purpose.seed)
    return scores_from_logits(evaluation.logits(manifest, recipe, state, vector, public), public.labels)
