"""A bank's rows as the model's inputs: their hash, their split for validation, and how they are written."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedfraud.transactions import LABEL, Feature

VALIDATION_SHARE = 0.15
SPLIT_SEED = 20_150
"""Fixed for good: as long as the file stays as it is, a row that was for validation is never trained on."""

BLOCK_ROWS = 65_536
"""Rows that are copied or computed at a time."""


@dataclass(frozen=True)
class Rows:
    """`features` (rows, features) in the schema's units and order, `labels` (rows,), true for fraud."""

    features: NDArray[np.float64]
    labels: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def fraud_count(self) -> int:
        """Rows that are frauds."""
        return int(np.count_nonzero(self.labels))

    @property
    def sha256(self) -> bytes:
        """Of the rows in their order, as little-endian float64, then the labels: the same however a file keeps them."""
        digest = hashlib.sha256()
        for first in range(0, len(self), BLOCK_ROWS):  # no second copy of all rows
            digest.update(np.ascontiguousarray(self.features[first : first + BLOCK_ROWS], "<f8").tobytes())
        digest.update(self.labels.tobytes())
        return digest.digest()

    def take(self, rows: NDArray[np.intp]) -> "Rows":
        """The rows of these numbers, from 0."""
        return Rows(self.features[rows], self.labels[rows])


def split(rows: Rows) -> tuple[Rows, Rows]:
    """Training and validation rows, the same in every run.

    PCG64(SPLIT_SEED) permutes the legitimate rows, then the frauds; the first rint(15 %) of each are for validation,
    at least one where the class has two or more rows, so that one row of every class remains for training. Both parts
    keep the rows' order.
    """
    validation = _validation(rows.labels)
    return rows.take(np.flatnonzero(~validation)), rows.take(np.flatnonzero(validation))


def divide(rows: Rows) -> tuple[Rows, Rows]:
    """The same parts in the memory of `rows`, which are no longer whole: there are no two copies of many rows."""
    validation = _validation(rows.labels)
    held = rows.take(np.flatnonzero(validation))
    start = 0
    for first in range(0, len(rows), BLOCK_ROWS):
        block = slice(first, first + BLOCK_ROWS)
        kept = ~validation[block]
        end = start + int(np.count_nonzero(kept))
        # Never further on than where it comes from: what is written over has been read.
        rows.features[start:end], rows.labels[start:end] = rows.features[block][kept], rows.labels[block][kept]
        start = end
    rows.features[start:], rows.labels[start:] = held.features, held.labels
    return Rows(rows.features[:start], rows.labels[:start]), Rows(rows.features[start:], rows.labels[start:])


def _validation(labels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(rows,) whether each is for validation."""
    draws = np.random.Generator(np.random.PCG64(SPLIT_SEED))
    validation = np.zeros(len(labels), np.bool_)
    for label in (False, True):
        members = draws.permutation(np.flatnonzero(labels == label))
        if len(members) >= 2:
            validation[members[: max(1, round(VALIDATION_SHARE * len(members)))]] = True
    return validation


def write(path: Path, rows: Rows, features: tuple[Feature, ...]) -> None:
    """A Parquet file that own_data reads back to the same bits."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {feature.name: rows.features[:, i] for i, feature in enumerate(features)}
    pq.write_table(pa.table({**columns, LABEL: rows.labels.astype(np.int8)}), path, use_dictionary=False)
