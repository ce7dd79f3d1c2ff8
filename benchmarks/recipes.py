"""How well recipes learn the tutorial's population: the federation's arithmetic in one process, without a network.

    python benchmarks/recipes.py --recipes default,tutorial --seeds 7,1,2,5,6 --rounds 10

One line a run: average precision and AUROC on the public hold-out, which no bank has, and the CPU seconds of training.
"""

import argparse
import sys
import time
from pathlib import Path
from statistics import mean

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import ending, options
from benchmarks.federation import Model, federate
from fedfraud.manifest import Manifest
from fedfraud.metrics import Scores, scores_from_logits
from fedfraud.model import calibrated_logits
from fedfraud.recipe import RECIPES, Recipe, recipe_named
from fedfraud.transactions import TUTORIAL
from services.bank_client.dataset import Rows, split
from simulation import tutorial

MANIFEST = Manifest("tutorial", TUTORIAL)


def training_rows(seed: int, banks: int) -> list[Rows]:
    """Each bank's training rows, from slot 1."""
    return [split(Rows(*tutorial.shard(seed, slot)))[0] for slot in range(1, banks + 1)]


def holdout_scores(recipe: Recipe, model: Model, rows: Rows) -> Scores:
    """The model's figures on the public hold-out."""
    adjusted = recipe.logit_adjustment
    logits = calibrated_logits(MANIFEST, model.run_state, model.vector, rows.features, logit_adjustment=adjusted)
    return scores_from_logits(logits, rows.labels)


def main() -> None:
    """Prints a line a recipe and seed, then the mean of each recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    recipes = options.several(options.one_of(RECIPES))
    parser.add_argument("--recipes", type=recipes, default="default,tutorial", help="names, with commas")
    parser.add_argument(
        "--seeds", type=options.several(options.seed), default="7,1,2,5,6", help="of population and run, with commas"
    )
    parser.add_argument("--rounds", type=options.rounds, default=10)
    parser.add_argument("--banks", type=options.banks, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for recipe in map(recipe_named, arguments.recipes):
        precisions = []
        for seed in arguments.seeds:
            banks = training_rows(seed, arguments.banks)
            start = time.process_time()
            *_, model = federate(MANIFEST, recipe, seed, banks, arguments.rounds)
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
    ending.run(main)
