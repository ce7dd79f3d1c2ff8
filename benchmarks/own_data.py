"""Reads ten million rows of a bank's own and trains on them: rows a second and peak memory, each part in a process of
its own; and the training loop side by side with the usual one of torch's DataLoader.

    .venv/bin/python benchmarks/own_data.py
    .venv/bin/python benchmarks/own_data.py --rows 1000000 --dir /tmp

The rows are made in chunks in a temporary folder of --dir, 3 GB of it for ten million, and removed. Linux.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import ending, options
from fedfraud.contract import contract_named
from fedfraud.manifest import Manifest
from fedfraud.model import RunState, initial_vector
from fedfraud.recipe import Recipe, recipe_named
from fedfraud.standardise_codec import StandardiseCodec
from fedfraud.transactions import TUTORIAL
from services.bank_client import own_data
from services.bank_client.dataset import Rows, divide
from services.bank_client.readers import OwnData
from services.bank_client.settings import Settings
from services.bank_client.training import Cancelled, Trainer

MANIFEST = Manifest("tutorial", TUTORIAL)
CHUNK = 250_000
WINDOWS, WINDOW_ROWS = 5, 200_000
APRIL = 1_522_540_800


def table_chunks(rows: int) -> Iterator[pa.Table]:
    """Thirty float64 columns and a label, one in a hundred a fraud."""
    draws = np.random.default_rng(1)
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        labels = draws.random(count) < 0.01
        columns = {f.name: draws.normal(size=count) + labels for f in TUTORIAL}
        yield pa.table({**columns, "fraud": labels.astype(np.int8)})


def payment_chunks(rows: int) -> Iterator[pa.Table]:
    """Payments of 59 days by 100,000 customers at 10,000 merchants, labels known a week later."""
    draws = np.random.default_rng(2)
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        times = APRIL + np.sort(draws.integers(0, 59 * 86_400, count))
        yield pa.table(
            {
                "transaction_id": np.arange(start, start + count),
                "time": pa.array(times, pa.timestamp("s")),
                "customer_id": [f"c{number}" for number in draws.integers(0, 100_000, count)],
                "merchant_id": [f"m{number}" for number in draws.integers(0, 10_000, count)],
                "amount": np.round(draws.gamma(2.0, 30.0, count), 2),
                "fraud": (draws.random(count) < 0.01).astype(np.int8),
                "fraud_known_at": pa.array(times + 7 * 86_400, pa.timestamp("s")),
            }
        )


def write(path: Path, chunks: Iterator[pa.Table]) -> None:
    """One file, a chunk at a time."""
    first = next(chunks)
    if path.suffix == ".csv":
        with pa.csv.CSVWriter(path, first.schema) as writer:
            writer.write_table(first)
            for chunk in chunks:
                writer.write_table(chunk)
    else:
        with pq.ParquetWriter(path, first.schema, use_dictionary=False) as writer:
            writer.write_table(first)
            for chunk in chunks:
                writer.write_table(chunk)


def peak() -> float:
    """The most memory of this process up to now, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def timed(what: str, work: Callable[[], Any], said: dict[str, float], rows: int) -> Any:  # noqa: ANN401  # of any work
    """What the work gives; its rows a second and the peak after it go to `said`."""
    began = time.perf_counter()
    result = work()
    said[f"{what} rows a second"] = rows / (time.perf_counter() - began)
    said[f"{what} peak GB"] = peak()
    return result


def loaded(path: Path, contract: str) -> OwnData:
    """What a bank has before it joins."""
    found = own_data.load(Settings(data_dir=path.parent, dataset=path.name), contract_named(contract))
    found.report.findings.refuse()
    return found


def payments(path: Path, said: dict[str, float]) -> None:
    """Reads, checks and sorts payments."""
    found = timed("read and check", lambda: loaded(path, "cards"), said, rows_in(path))
    said["arrays GB"] = sum(c.nbytes for c in vars(found.payments).values() if isinstance(c, np.ndarray)) / 1e9


def table(path: Path, said: dict[str, float]) -> None:
    """Reads and checks a table, then does what a bank does with it in a run."""
    rows = timed("read and check", lambda: loaded(path, "tutorial").table(), said, rows_in(path))
    said["arrays GB"] = (rows.features.nbytes + rows.labels.nbytes) / 1e9
    training, _ = timed("hash and split", lambda: (rows.sha256, divide(rows))[1], said, len(rows))
    codec = StandardiseCodec(tuple(feature.resolution for feature in TUTORIAL))
    scaler = timed(
        "scaler", lambda: codec.decode(codec.encode(training.features, training.labels)), said, len(training)
    )
    means, deviations = tuple(scaler.means.tolist()), tuple(scaler.deviations.tolist())
    state = RunState(means, deviations, scaler.row_count, scaler.fraud_count, 1.0)
    for name in ("default", "tutorial"):
        recipe = recipe_named(name)
        trainer = timed(f"{name} inputs", partial(Trainer, MANIFEST, recipe, state, training), said, len(training))
        compare(recipe, trainer, training, said)
    said["all peak GB"] = peak()


def compare(recipe: Recipe, trainer: Trainer, training: Rows, said: dict[str, float]) -> None:
    """Our loop and the DataLoader's on the same rows, alternating; the order of an epoch's rows is drawn in either."""
    ours = Window(recipe)
    own: list[float] = []
    theirs: list[float] = []
    loop = data_loader_loop(recipe, trainer)
    start = initial_vector(MANIFEST, 7)
    for _ in range(WINDOWS):
        own.append(ours.rows_a_second(lambda: trainer.train(start, bytes(32), ours.over)))
        began = time.perf_counter()
        theirs.append(sum(next(loop) for _ in range(WINDOW_ROWS // recipe.batch_size)) / (time.perf_counter() - began))
    said[f"{recipe.name} training rows a second"] = float(np.median(own))
    said[f"{recipe.name} DataLoader rows a second"] = float(np.median(theirs))
    said[f"{recipe.name} times as fast"] = float(np.median(np.array(own) / np.array(theirs)))


class Window:
    """Stops training after a number of rows; what comes before the first batch is a part of an epoch, and not timed."""

    def __init__(self, recipe: Recipe) -> None:
        self._batch_size = recipe.batch_size
        self._batches, self._began = 0, 0.0

    def over(self) -> bool:
        """Asked before each batch."""
        if not self._batches:
            self._began = time.perf_counter()
        self._batches += 1
        return self._batches * self._batch_size > WINDOW_ROWS

    def rows_a_second(self, train: Callable[[], Any]) -> float:
        """Of one window."""
        self._batches = 0
        with suppress(Cancelled):
            train()
        return self._batches * self._batch_size / (time.perf_counter() - self._began)


def data_loader_loop(recipe: Recipe, trainer: Trainer) -> Iterator[int]:
    """The usual loop, as the tutorial has it, one batch at a time."""
    network = nn.Sequential(
        *(nn.Linear(30, 64), nn.ReLU(), nn.Dropout(recipe.dropout)),
        *(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(recipe.dropout)),
        nn.Linear(32, 1),
    )
    optimiser, loss = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate), nn.BCEWithLogitsLoss()
    loader = DataLoader(TensorDataset(*trainer.tensors), batch_size=recipe.batch_size, shuffle=True)
    while True:
        for inputs, labels in loader:
            optimiser.zero_grad()
            loss(network(inputs).squeeze(1), labels).backward()
            optimiser.step()
            yield len(labels)


def rows_in(path: Path) -> int:
    """As its name says."""
    return int(path.stem.rpartition("-")[2])


def measured(what: str, path: Path) -> dict[str, float]:
    """The figures of one part, by a process of its own."""
    command = [sys.executable, __file__, "--part", what, "--file", str(path)]
    said: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return said


def main() -> None:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=options.rows, default=10_000_000)
    parser.add_argument("--dir", type=options.folder, default=None, help="where the temporary folder is made")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        said: dict[str, float] = {}
        {"payments": payments, "table": table}[arguments.part](arguments.file, said)
        print(json.dumps(said))
        return
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}"
    )
    with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
        for what, suffix, chunks in (("payments", "csv", payment_chunks), ("table", "parquet", table_chunks)):
            path = Path(folder) / f"rows-{arguments.rows}.{suffix}"
            write(path, chunks(arguments.rows))
            print(f"\n{what}: {arguments.rows:,} rows, {suffix}, {path.stat().st_size / 1e9:.2f} GB")
            for name, value in measured(what, path).items():
                print(f"  {name:32} {value:14,.0f}" if value >= 1000 else f"  {name:32} {value:14.2f}")
            path.unlink()


if __name__ == "__main__":
    ending.run(main)
