"""Training: rows a second of a bank's training beside the usual loop of torch's DataLoader, on the same rows.

    .venv/bin/python benchmarks/training.py
    .venv/bin/python benchmarks/training.py --rows 1000000

The rows are drawn in memory, one in a hundred a fraud. The two loops take turns, window by window of 200,000 rows, on
one core each; both draw the order of an epoch's rows, and the DataLoader's has torch's own Adam and autograd. The
medians of the windows are printed, and the median of their ratios. benchmarks/own_data.py measures the same on ten
million rows from a file, with reading and memory.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.measuring import Report, add_json
from benchmarks.own_data import MANIFEST, compare
from fedfraud.layout import standardise_codec
from fedfraud.model import RunState
from fedfraud.recipe import recipe_named
from fedfraud.transactions import TUTORIAL
from services.bank_client.dataset import Rows
from services.bank_client.training import Trainer

RECIPES = ("default", "tutorial")


def drawn(rows: int) -> Rows:
    """Thirty columns, shifted where the label is fraud."""
    draws = np.random.default_rng(1)
    labels = draws.random(rows) < 0.01
    return Rows(draws.normal(size=(rows, len(TUTORIAL))) + labels[:, None], labels)


def main() -> None:
    """Prints a row a recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400_000)
    add_json(parser)
    asked = parser.parse_args()
    report = Report("training", f"{asked.rows:,} rows, the model 30-64-32-1")
    report.begin()
    training = drawn(asked.rows)
    codec = standardise_codec(MANIFEST)
    opened = codec.decode(codec.encode(training.features, training.labels))
    means, deviations = tuple(opened.means.tolist()), tuple(opened.deviations.tolist())
    state = RunState(means, deviations, opened.row_count, opened.fraud_count, 1.0)
    for name in RECIPES:
        recipe, said = recipe_named(name), dict[str, float]()
        compare(recipe, Trainer(MANIFEST, recipe, state, training), training, said)
        figures = {key.removeprefix(f"{name} "): value for key, value in said.items()}
        report.add("rows", {"recipe": name, "rows a batch": recipe.batch_size, **figures})
    report.end(asked.json)


if __name__ == "__main__":
    main()
