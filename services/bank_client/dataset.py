"""A bank's own rows: read and checked, split for validation, written.

A dataset is a Parquet file, or a CSV file with a header line, that has the schema's columns and the label, in any
order; other columns are left alone. Rows are counted from 1, without the header. Every refusal is an Invalid that
names the file, the column, the row and the rule.
"""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedfraud.errors import Invalid
from fedfraud.fixed_point import VALUE_CAP
from fedfraud.transactions import LABEL, Feature

VALIDATION_SHARE = 0.15
SPLIT_SEED = 20_150
"""Fixed for good: as long as the file stays as it is, a row that was for validation is never trained on."""

Column = NDArray[np.float64]


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
        return int(self.labels.sum())

    @property
    def sha256(self) -> bytes:
        """Of the rows in their order, as little-endian float64, then the labels: the same however a file keeps them."""
        features = np.ascontiguousarray(self.features, "<f8")
        return hashlib.sha256(features.tobytes() + self.labels.tobytes()).digest()

    def take(self, rows: NDArray[np.intp]) -> "Rows":
        """The rows of these numbers, from 0."""
        return Rows(self.features[rows], self.labels[rows])


def read(path: Path, features: tuple[Feature, ...]) -> Rows:
    """The dataset in a .parquet or .csv file, checked against the schema."""
    readers = {".parquet": _read_parquet, ".csv": _read_csv}
    if path.suffix not in readers:
        raise Invalid(f"a dataset must be a .parquet or .csv file, got {path.name}")
    names = [feature.name for feature in features] + [LABEL]
    try:
        columns = readers[path.suffix](path, names)
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path.name} must be readable: {error}") from error
    if not len(columns[0]):
        raise Invalid(f"{path.name} must have at least 1 row, got 0")
    for name, column in zip(names, columns, strict=True):
        _check(~np.isfinite(column), column, f"{path.name}: column {name!r} must hold finite numbers")
    for feature, column in zip(features, columns[:-1], strict=True):
        unit = f"its resolution, {feature.resolution:g} {feature.unit}"
        with np.errstate(over="ignore"):  # infinity is too large as well
            bad = np.abs(np.rint(column / feature.resolution)) >= VALUE_CAP  # what the release door refuses too
        _check(bad, column, f"{path.name}: column {feature.name!r} must lie within ±2**40 times {unit}")
    label = columns[-1]
    _check((label != 0) & (label != 1), label, f"{path.name}: column {LABEL!r} must be 0 or 1")
    return Rows(np.column_stack(columns[:-1]), label == 1)


def split(rows: Rows) -> tuple[Rows, Rows]:
    """Training and validation rows, the same in every run.

    PCG64(SPLIT_SEED) permutes the legitimate rows, then the frauds; the first rint(15 %) of each are for validation,
    at least one where the class has two or more rows, so that one row of every class remains for training. Both parts
    keep the rows' order.
    """
    draws = np.random.Generator(np.random.PCG64(SPLIT_SEED))
    validation = np.zeros(len(rows), np.bool_)
    for label in (False, True):
        members = draws.permutation(np.flatnonzero(rows.labels == label))
        if len(members) >= 2:
            validation[members[: max(1, round(VALIDATION_SHARE * len(members)))]] = True
    return rows.take(np.flatnonzero(~validation)), rows.take(np.flatnonzero(validation))


def write(path: Path, rows: Rows, features: tuple[Feature, ...]) -> None:
    """A Parquet file that `read` reads back to the same bits."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {feature.name: rows.features[:, i] for i, feature in enumerate(features)}
    pq.write_table(pa.table({**columns, LABEL: rows.labels.astype(np.int8)}), path, use_dictionary=False)


def _read_parquet(path: Path, names: list[str]) -> list[Column]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _find(path, file.schema_arrow.names, names)
            table = file.read(columns=names)
    except pa.ArrowException as error:
        raise Invalid(f"{path.name} must be a Parquet file: {error}") from error
    columns = []
    for name in names:
        column = table.column(name)
        kind = column.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise Invalid(f"{path.name}: column {name!r} must hold numbers, got {kind}")
        columns.append(column.cast(pa.float64(), safe=False).to_numpy())  # an empty value becomes NaN
    return columns


def _read_csv(path: Path, names: list[str]) -> list[Column]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        header = next(csv.reader(file), [])
        places = _find(path, [name.strip() for name in header], names)
        if not any(line.strip() for line in file):
            return [np.empty(0)] * len(names)
        file.seek(0)
        try:
            # The header is taken off by hand: loadtxt counts lines, and a quoted name may hold a line's end.
            next(csv.reader(file))
            table = np.loadtxt(file, delimiter=",", usecols=places, comments=None, quotechar='"', ndmin=2)
        except ValueError as error:
            raise _not_a_number(path, names, places) or Invalid(f"{path.name} must be a CSV file: {error}") from error
    return list(table.T)


def _not_a_number(path: Path, names: list[str], places: list[int]) -> Invalid | None:
    """Which value it was that loadtxt could not read."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file)
        next(lines)
        for row, cells in enumerate((line for line in lines if line), start=1):
            for name, place in zip(names, places, strict=True):
                cell = cells[place] if place < len(cells) else ""
                try:
                    float(cell)
                except ValueError:
                    return Invalid(f"{path.name}: column {name!r} must hold finite numbers, got {cell!r} in row {row}")
    return None


def _find(path: Path, header: Sequence[str], names: list[str]) -> list[int]:
    """Where in the header each name stands."""
    for name in names:
        if header.count(name) != 1:
            raise Invalid(f"{path.name} must have the column {name!r} once, got it {header.count(name)} times")
    return [header.index(name) for name in names]


def _check(bad: NDArray[np.bool_], column: Column, rule: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise Invalid(f"{rule}, got {column[row]:g} in row {row + 1}")
