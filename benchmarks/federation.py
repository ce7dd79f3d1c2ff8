"""The federation's arithmetic in one process, without a network: what a run of full cohorts computes, to the bit."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fedfraud.layout import standardise_codec, train_codec
from fedfraud.manifest import Manifest
from fedfraud.model import RunState, Vector, initial_vector, model_sha256
from fedfraud.recipe import Recipe
from services.aggregator.averaging import exact_sum, run_state, server_step
from services.bank_client.dataset import Rows
from services.bank_client.seeds import training_seed
from services.bank_client.training import Trainer, weight


@dataclass(frozen=True)
class Model:
    """What a round produced; `sha256` covers manifest, run state and vector."""

    manifest: Manifest
    run_state: RunState
    vector: Vector

    @property
    def sha256(self) -> bytes:
        """The model's hash, 32 bytes."""
        return model_sha256(self.manifest, self.run_state, self.vector)


def federate(manifest: Manifest, recipe: Recipe, seed: int, banks: list[Rows], rounds: int) -> Iterator[Model]:
    """The model before the first round, then after each, from the banks' training rows: bank i has the seat bank-0i."""
    standardise, codec = standardise_codec(manifest), train_codec(manifest, recipe)
    sums = exact_sum((standardise.encode(rows.features, rows.labels) for rows in banks), standardise.length)
    state = run_state(standardise.decode(sums), recipe)
    trainers = [Trainer(manifest, recipe, state, rows) for rows in banks]
    model, velocity = Model(manifest, state, initial_vector(manifest, seed)), np.zeros(manifest.parameter_count)
    yield model
    for step in range(1, rounds + 1):
        contributions = []
        for i, (trainer, rows) in enumerate(zip(trainers, banks, strict=True), start=1):
            trained = trainer.train(model.vector, training_seed(seed, f"bank-{i:02d}", step, model.sha256))
            contributions.append(codec.encode(trained - model.vector, weight(recipe, state, rows)))
        average = codec.decode(exact_sum(contributions, codec.length)).average
        vector, velocity = server_step(model.vector, velocity, average, recipe.momentum)
        model = Model(manifest, state, vector)
        yield model
