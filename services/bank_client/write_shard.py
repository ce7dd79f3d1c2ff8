"""Makes a simulated bank: writes one shard of a population where a real bank would put its dataset.

The only module of the bank that knows of `simulation`; once the files are there nothing tells simulated and real data
apart. Files appear whole or not at all, and what exists is never written again.
"""

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

import simulation.tutorial
from fedfraud.errors import Invalid
from fedfraud.transactions import SCHEMAS
from services.bank_client import dataset

POPULATIONS = {"tutorial": simulation.tutorial}

DATASET = "dataset.parquet"
HOLDOUT = "holdout.parquet"


def write_shard(population: str, seed: int, slot: int, data_dir: Path) -> None:
    """Writes the slot's rows to dataset.parquet and the public hold-out beside it, where they do not exist yet."""
    source, features = _population(population), SCHEMAS[population]

    def write(path: Path, rows: tuple[NDArray[np.float64], NDArray[np.bool_]]) -> None:
        dataset.write(path, dataset.Rows(*rows), features)

    _once(data_dir / DATASET, lambda path: write(path, source.shard(seed, slot)))
    _once(data_dir / HOLDOUT, lambda path: write(path, source.holdout(seed)))


def write_holdout(population: str, seed: int, path: Path) -> None:
    """Writes the public hold-out for the aggregator: an .npz of `features` float64 and `labels` bool."""
    features, labels = _population(population).holdout(seed)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, features=features, labels=labels)

    _once(path, write)


def shard_rows(population: str, seed: int, slot: int) -> dataset.Rows:
    """The rows of one slot, as its bank would have them."""
    return dataset.Rows(*_population(population).shard(seed, slot))


def holdout_rows(population: str, seed: int) -> dataset.Rows:
    """The rows that no bank has."""
    return dataset.Rows(*_population(population).holdout(seed))


def _population(name: str) -> ModuleType:
    if name not in POPULATIONS:
        later = " (cards comes with a later version)" if name == "cards" else ""
        raise Invalid(f"a population must be one of {', '.join(POPULATIONS)}, got {name!r}{later}")
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
