"""Makes a simulated bank: writes one shard of a population where a real bank would put its dataset.

The only module of the bank that knows of `simulation`; once the files are there nothing tells simulated and real data
apart. Files appear whole or not at all, and what exists is never written again.
"""

import hashlib
import os
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedfraud.errors import Invalid
from fedfraud.feature_plan import PLANS
from fedfraud.identity import write_secret
from fedfraud.logs import Log
from fedfraud.transactions import HAVE_HOLDOUT, SCHEMAS, SIMULATED, preset_of
from services.bank_client import dataset
from services.bank_client.transactions import Transactions
from simulation import cards, tutorial

DATASET = "dataset.parquet"
HOLDOUT = "holdout.parquet"
MERCHANT_KEY = "merchant.key"
"""What simulated banks hash their merchants under; real banks agree on a key of their own."""

_DAY = 86_400
_NUMBERS = 2**20
"""Payments that one customer may have, for ids that differ over all banks."""
_log = Log("simulation")


def write_shard(population: str, seed: int, slot: int, data_dir: Path, preset: str = "") -> None:
    """Writes the slot's rows to dataset.parquet, and beside it the public hold-out or the merchants' key."""
    _check(population)
    if population == "cards":
        world = _world(seed)
        _once(data_dir / DATASET, lambda path: _write_payments(path, cards.shard(world, preset, slot), world))
        _once(data_dir / MERCHANT_KEY, lambda path: write_secret(path, merchant_key(seed)))
        return

    def write(path: Path, rows: tutorial.Labelled) -> None:
        dataset.write(path, dataset.Rows(*rows), SCHEMAS[population])

    preset_of(population, preset)
    _once(data_dir / DATASET, lambda path: write(path, tutorial.shard(seed, slot)))
    _once(data_dir / HOLDOUT, lambda path: write(path, tutorial.holdout(seed)))


def write_holdout(population: str, seed: int, path: Path) -> None:
    """Writes the public hold-out for the aggregator: an .npz of `features` float64 and `labels` bool; nothing where the
    population has none."""
    _check(population)
    if population not in HAVE_HOLDOUT:
        _log.info("no hold-out is written: every payment is some bank's", population=population)
        return
    features, labels = tutorial.holdout(seed)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, features=features, labels=labels)

    _once(path, write)


def write_shards(population: str, seed: int, slots: int, folder: Path) -> None:
    """Writes the shards of the slots 1 to `slots` for `take_shard`: the population is drawn once, and not by every
    bank."""
    for slot in range(1, slots + 1):
        first, own = _of_slot(folder, 1) / HOLDOUT, _of_slot(folder, slot)
        if first.exists():
            _once(own / HOLDOUT, partial(os.link, first))
        write_shard(population, seed, slot, own)


def take_shard(folder: Path, slot: int, data_dir: Path) -> None:
    """Lets what `write_shards` wrote for the slot be this bank's; nothing where there is none."""
    for name in (DATASET, HOLDOUT):
        if (written := _of_slot(folder, slot) / name).exists():
            _once(data_dir / name, partial(os.link, written))


def _of_slot(folder: Path, slot: int) -> Path:
    return folder / f"slot-{slot:02}"


def shard_rows(population: str, seed: int, slot: int) -> dataset.Rows:
    """The rows of one slot of a population that has a hold-out, as its bank would have them."""
    _check(population, HAVE_HOLDOUT)
    return dataset.Rows(*tutorial.shard(seed, slot))


def holdout_rows(population: str, seed: int) -> dataset.Rows:
    """The rows that no bank has."""
    _check(population, HAVE_HOLDOUT)
    return dataset.Rows(*tutorial.holdout(seed))


def shard_transactions(seed: int, preset: str, slot: int) -> Transactions:
    """The payments of one slot, as its bank would have them."""
    world = _world(seed)
    return transactions_of(cards.shard(world, preset_of("cards", preset), slot), world)


def transactions_of(payments: cards.Payments, world: cards.World) -> Transactions:
    """Simulated payments as a bank reads them from its dataset."""
    time = _start(world) + payments.seconds
    customers, customer = np.unique(payments.customer, return_inverse=True)
    merchants, merchant = np.unique(payments.terminal, return_inverse=True)
    return Transactions(
        time=time,
        customer=customer,
        merchant=merchant,
        amount=payments.amount,
        label=payments.fraud.astype(np.int8),
        known_at=time + cards.LABEL_DELAY,
        customer_ids=tuple(map(_customer_id, customers.tolist())),
        merchant_ids=tuple(map(_merchant_id, merchants.tolist())),
    )


def merchant_key(seed: int) -> bytes:
    """The key of a simulated world's banks, 32 bytes."""
    return hashlib.sha256(f"fedfraud simulated merchants {seed}".encode()).digest()


def _world(seed: int) -> cards.World:
    """The days of the population's feature plan: fewer than the public set has."""
    plan = PLANS["cards"]
    return cards.World(seed=seed, day_count=plan.day_count, first_day=plan.first_day)


def _write_payments(path: Path, payments: cards.Payments, world: cards.World) -> None:
    """Payments under their canonical names; pseudonyms in words, amounts as decimals of two places."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def instants(seconds: NDArray[np.int64]) -> pa.Array:
        return pa.array((_start(world) + seconds) * 1_000, pa.timestamp("ms", "UTC"))

    def names(codes: NDArray[np.int64], name: Callable[[int], str]) -> pa.Array:
        known, places = np.unique(codes, return_inverse=True)
        words = pa.DictionaryArray.from_arrays(places.astype(np.int32), [name(code) for code in known.tolist()])
        return words.dictionary_decode()

    cents = np.column_stack([payments.amount, np.zeros_like(payments.amount)])  # as integers of 128 bits
    columns = {
        "transaction_id": payments.customer * _NUMBERS + payments.number,
        "time": instants(payments.seconds),
        "customer_id": names(payments.customer, _customer_id),
        "merchant_id": names(payments.terminal, _merchant_id),
        "amount": pa.Array.from_buffers(pa.decimal128(12, 2), len(payments), [None, pa.py_buffer(cents.tobytes())]),
        "fraud": payments.fraud.astype(np.int8),
        "fraud_known_at": instants(payments.seconds + cards.LABEL_DELAY),
    }
    pq.write_table(pa.table(columns), path)


def _start(world: cards.World) -> int:
    return int(datetime.fromisoformat(world.first_day).replace(tzinfo=UTC).timestamp())


def _customer_id(number: int) -> str:
    return f"customer-{number:05}"


def _merchant_id(number: int) -> str:
    return f"merchant-{number:05}"


def _check(name: str, known: Collection[str] = SIMULATED) -> None:
    if name not in known:
        raise Invalid(f"a population must be one of {', '.join(known)}, got {name[:40]!r}")


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
