"""How well recipes learn the tutorial's population: the federation's arithmetic in one process, without a network.

    python benchmarks/recipes.py --recipes default,tutorial --seeds 7,1,2,5,6 --rounds 10

One line a run: average precision and AUROC on the public hold-out, which no bank has, and the CPU seconds of training.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from fedfraud.fixed_point import StandardiseCodec, TrainCodec
from fedfraud.manifest import Manifest
from fedfraud.metrics import Scores, scores_from_logits
from fedfraud.model import RunState, Vector, calibrated_logits, initial_vector, model_sha256
from fedfraud.recipe import Recipe, recipe_named
from fedfraud.transactions import TUTORIAL
from services.aggregator.averaging import exact_sum, run_state, server_step
from services.bank_client.dataset import Rows, split
from services.bank_client.seeds import training_seed
from services.bank_client.training import Trainer, weight
from simulation import tutorial

MANIFEST = Manifest("tutorial", TUTORIAL)


@dataclass(frozen=True)
class Model:
    """What a round produced; `sha256` covers manifest, run state and vector."""

    run_state: RunState
    vector: Vector

    @property
    def sha256(self) -> bytes:
        """The model's hash, 32 bytes."""
        return model_sha256(MANIFEST, self.run_state, self.vector)


def training_rows(seed: int, banks: int) -> list[Rows]:
    """Each bank's training rows, from slot 1."""
    return [split(Rows(*tutorial.shard(seed, slot)))[0] for slot in range(1, banks + 1)]


def federate(recipe: Recipe, seed: int, banks: list[Rows], rounds: int) -> Iterator[Model]:
    """The model before the first round, then after each: bank i has the seat bank-0i."""
    standardise = StandardiseCodec(tuple(feature.resolution for feature in MANIFEST.features))
    sums = exact_sum((standardise.encode(rows.features, rows.labels) for rows in banks), standardise.length)
    state = run_state(standardise.decode(sums), recipe)
    codec = TrainCodec(MANIFEST.parameter_count, recipe.clip)
    trainers = [Trainer(MANIFEST, recipe, state, rows) for rows in banks]
    model, velocity = Model(state, initial_vector(MANIFEST, seed)), np.zeros(MANIFEST.parameter_count)
    yield model
    for step in range(1, rounds + 1):
        contributions = []
        for i, (trainer, rows) in enumerate(zip(trainers, banks, strict=True), start=1):
            trained = trainer.train(model.vector, training_seed(seed, f"bank-{i:02d}", step, model.sha256))
            contributions.append(codec.encode(trained - model.vector, weight(recipe, state, rows)))
        average = codec.decode(exact_sum(contributions, codec.length)).average
        vector, velocity = server_step(model.vector, velocity, average, recipe.momentum)
        model = Model(state, vector)
        yield model


def holdout_scores(recipe: Recipe, model: Model, rows: Rows) -> Scores:
    """The model's figures on the public hold-out."""
    adjusted = recipe.logit_adjustment
    logits = calibrated_logits(MANIFEST, model.run_state, model.vector, rows.features, logit_adjustment=adjusted)
    return scores_from_logits(logits, rows.labels)


def main() -> None:
    """Prints a line a recipe and seed, then the mean of each recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", default="default,tutorial", help="names, with commas")
    parser.add_argument("--seeds", default="7,1,2,5,6", help="of population and run, with commas")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--banks", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for recipe in map(recipe_named, arguments.recipes.split(",")):
        precisions = []
        for seed in map(int, arguments.seeds.split(",")):
            banks = training_rows(seed, arguments.banks)
            start = time.process_time()
            *_, model = federate(recipe, seed, banks, arguments.rounds)
            seconds = time.process_time() - start
            scores = holdout_scores(recipe, model, Rows(*tutorial.holdout(seed)))
            precisions.append(scores.average_precision or 0.0)
            print(
                f"{recipe.name:10} seed {seed:<3} AP {scores.average_precision:.4f}  AUROC {scores.roc_auc:.4f}  "
                f"prevalence {scores.prevalence:.4f}  flagged {scores.flagged_count:<4} {seconds:.2f} CPU s  "
                f"{model.sha256.hex()[:16]}"
            )
        print(f"{recipe.name:10} mean     AP {mean(precisions):.4f}  lowest {min(precisions):.4f}")


if __name__ == "__main__":
    main()
