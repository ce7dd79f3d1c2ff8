"""Makes a simulated bank: writes one shard of a population where a real bank would put its dataset.

The only module of the bank that knows of `simulation`; once the files are there nothing tells simulated and real data
apart. Files appear whole or not at all, and what exists is never written again.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

import simulation.cards
import simulation.tutorial
from fedfraud.errors import Invalid
from fedfraud.feature_plan import PLANS
from fedfraud.identity import write_secret
from fedfraud.logs import Log
from fedfraud.transactions import LABEL, SCHEMAS
from services.bank_client import dataset
from services.bank_client.enrol import Enrolment

POPULATIONS = {"tutorial": simulation.tutorial}
"""Those whose rows are feature tables, with a public hold-out."""

DATASET = "dataset.parquet"
HOLDOUT = "holdout.parquet"
MERCHANT_KEY = "merchant.key"
_EPOCH = np.datetime64(0, "s")
_log = Log("bank")


def write_shard(enrolment: Enrolment, data_dir: Path) -> None:
    """Writes the slot's rows to dataset.parquet where that does not exist yet, and beside it the public hold-out, or of
    payments the key that all simulated banks know and the aggregator does not."""
    name, seed, slot = enrolment.population, enrolment.population_seed, enrolment.slot
    if name == "cards":
        key = hashlib.sha256(f"fedfraud simulated merchant key {seed}".encode()).digest()
        data_dir.mkdir(parents=True, exist_ok=True)
        write_secret(data_dir / MERCHANT_KEY, key)
        _once(data_dir / DATASET, lambda path: _write_payments(path, seed, enrolment.population_preset, slot))
        return
    source, features = _population(name), SCHEMAS[name]

    def write(path: Path, rows: tuple[NDArray[np.float64], NDArray[np.bool_]]) -> None:
        dataset.write(path, dataset.Rows(*rows), features)

    _once(data_dir / DATASET, lambda path: write(path, source.shard(seed, slot)))
    _once(data_dir / HOLDOUT, lambda path: write(path, source.holdout(seed)))


def write_holdout(population: str, seed: int, path: Path) -> None:
    """Writes the public hold-out for the aggregator: an .npz of `features` float64 and `labels` bool; nothing where the
    population has none."""
    if population == "cards":
        _log.info("nothing is written: the population has no public hold-out", population=population)
        return
    features, labels = _population(population).holdout(seed)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, features=features, labels=labels)

    _once(path, write)


def _write_payments(path: Path, seed: int, preset: str, slot: int) -> None:
    """The payments of the plan's days under the contract's own names. A label is known after the plan's delay."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    plan = PLANS["cards"]
    world = simulation.cards.World(seed=seed, day_count=plan.day_count, first_day=plan.first_day)
    paid = simulation.cards.shard(world, preset, slot)
    seconds = paid.seconds + plan.start_time
    known_at = seconds + plan.label_delay_days * simulation.cards.DAY
    columns = {
        "transaction_id": pa.array(np.arange(1, len(paid) + 1)),
        "time": pa.array(_EPOCH + seconds, pa.timestamp("s", "UTC")),
        "customer_id": pa.array([f"customer-{number}" for number in paid.customer.tolist()]),
        "merchant_id": pa.array([f"merchant-{number}" for number in paid.terminal.tolist()]),
        "amount": pa.array(paid.amount / 100),
        LABEL: pa.array(paid.fraud.astype(np.int8)),
        "fraud_known_at": pa.array(_EPOCH + known_at, pa.timestamp("s", "UTC")),
    }
    pq.write_table(pa.table(columns), path)


def shard_rows(population: str, seed: int, slot: int) -> dataset.Rows:
    """The rows of one slot, as its bank would have them."""
    return dataset.Rows(*_population(population).shard(seed, slot))


def holdout_rows(population: str, seed: int) -> dataset.Rows:
    """The rows that no bank has."""
    return dataset.Rows(*_population(population).holdout(seed))


def _population(name: str) -> ModuleType:
    if name not in POPULATIONS:
        raise Invalid(f"a population must be one of {', '.join(POPULATIONS)}, got {name!r}")
    return POPULATIONS[name]


def _once(path: Path, write: Callable[[Path], None]) -> None:
    """Writes to a temporary name, renames, and makes both durable; nothing if the path exists."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    write(temporary)
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
