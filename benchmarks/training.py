"""Training: rows a second of a bank's training beside the usual loop of torch's DataLoader, on the same rows; and how
what a bank computes grows with its rows.

    .venv/bin/python benchmarks/training.py
    .venv/bin/python benchmarks/training.py --rows 1000000 --growth 10000,100000,1000000,3000000

The rows are drawn in memory, one in a hundred a fraud. The two loops take turns, window by window of 200,000 rows, each
with one thread of torch's; a bank draws the next rows and dropout in another thread. Both draw the order of an epoch's
rows, and the DataLoader's has torch's own Adam and autograd. The
medians of the windows are printed, and the median of their ratios. benchmarks/own_data.py measures the same on ten
million rows from a file, with reading and memory.

For each number of `--growth`: the seconds in which a bank sums these rows for the scaler and standardises them, once a
run; trains on them, all local epochs, once a round; and scores as many with the model. Seconds are the CPU's, the
median of three turns. A line is fitted to each, and `order` is the slope of the logarithms: 1 is proportional.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as a bank has it; numpy reads it when it is imported

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import ending
from benchmarks.measuring import Report, add_json, growth, number
from benchmarks.options import several
from benchmarks.own_data import MANIFEST, compare
from fedfraud.layout import standardise_codec
from fedfraud.model import RunState, initial_vector
from fedfraud.recipe import recipe_named
from fedfraud.transactions import TUTORIAL
from services.aggregator.operate import whole_number
from services.bank_client.dataset import Rows
from services.bank_client.evaluation import logits
from services.bank_client.training import Trainer

RECIPES = ("default", "tutorial")
TURNS = 3
LEAST_ROWS = 1_000


def drawn(rows: int) -> Rows:
    """Thirty columns, shifted where the label is fraud."""
    draws = np.random.default_rng(1)
    labels = draws.random(rows) < 0.01
    return Rows(draws.normal(size=(rows, len(TUTORIAL))) + labels[:, None], labels)


def scaled(training: Rows) -> RunState:
    """The run of a bank that is alone with these rows."""
    codec = standardise_codec(MANIFEST)
    opened = codec.decode(codec.encode(training.features, training.labels))
    means, deviations = tuple(opened.means.tolist()), tuple(opened.deviations.tolist())
    return RunState(means, deviations, opened.row_count, opened.fraud_count, 1.0)


def beside_the_data_loader(report: Report, training: Rows) -> None:
    """A row a recipe."""
    state = scaled(training)
    for name in RECIPES:
        recipe, said = recipe_named(name), dict[str, float]()
        compare(recipe, Trainer(MANIFEST, recipe, state, training), training, said)
        figures = {key.removeprefix(f"{name} "): value for key, value in said.items()}
        report.add("rows", {"recipe": name, "rows a batch": recipe.batch_size, **figures})


def turn(training: Rows) -> dict[str, float]:
    """Seconds of one core in each thing that a bank computes of these rows."""
    took, vector = dict[str, float](), initial_vector(MANIFEST, 7)
    state = timed(took, "summing for the scaler", lambda: scaled(training))
    for name in RECIPES:
        recipe = recipe_named(name)  # of either the inputs are the same
        trainer = timed(took, "standardising", partial(Trainer, MANIFEST, recipe, state, training))
        work = f"training, {name}, local epochs {recipe.local_epochs}"
        timed(took, work, partial(trainer.train, vector, bytes(32)))
    timed(took, "scoring", lambda: logits(MANIFEST, recipe_named(RECIPES[0]), state, vector, training))
    return took


def timed(took: dict[str, float], what: str, work: Callable[[], Any]) -> Any:  # noqa: ANN401  # of any work
    """What the work gives; its seconds go to `took`."""
    began = time.process_time()
    result = work()
    took[what] = time.process_time() - began
    return result


def by_rows(report: Report, every: Sequence[Rows]) -> None:
    """A row a number of rows, and the line through each column. All numbers take turns: a machine that is slow for a
    while is so for all."""
    turns = [[turn(training) for training in every] for _ in range(TURNS)]
    for training, same in zip(every, zip(*turns, strict=True), strict=True):
        medians = {f"{what} s": statistics.median(each[what] for each in same) for what in same[0]}
        report.add("by rows", {"rows": len(training), **medians})
    rows = report.tables["by rows"]
    for column in list(rows[0])[1:]:
        points = [(number(row, "rows"), number(row, column)) for row in rows]
        report.find(growth(points, f"by rows, {column.removesuffix(' s')}", "row"))


def main() -> None:
    """Prints a row a recipe, a row a recipe and number of rows, and the fits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    rows = whole_number(LEAST_ROWS, 10**8)
    parser.add_argument("--rows", type=rows, default=400_000, help="beside the DataLoader")
    parser.add_argument(
        "--growth", type=several(rows), default="10000,30000,100000,300000,1000000", help="numbers of rows, with commas"
    )
    add_json(parser)
    asked = parser.parse_args()
    numbers = sorted(asked.growth)
    if len(numbers) < 2:
        parser.error(f"--growth must be two numbers or more, got {numbers[0]}")
    report = Report("training", f"{asked.rows:,} rows, the model 30-64-32-1")
    report.begin()
    beside_the_data_loader(report, drawn(asked.rows))
    by_rows(report, [drawn(count) for count in numbers])
    report.end(asked.json)


if __name__ == "__main__":
    ending.run(main)
