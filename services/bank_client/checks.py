"""One chunk's columns converted and held to the contract's rules, with every row that breaks one named."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fedfraud.contract import Column, Contract
from fedfraud.standardise_codec import VALUE_CAP
from fedfraud.transactions import LABEL, Feature
from services.bank_client import conversion
from services.bank_client.column_map import ColumnMap
from services.bank_client.conversion import NO_TIME, Floats, Mask, Times, WrongType
from services.bank_client.findings import Fault, Findings
from services.bank_client.sources import Chunk

T = TypeVar("T")
_FLAG_UNIT = "0 or 1"
"""Of inputs that a bank may keep as booleans."""
MOST_ID_BYTES = 256
"""Many rows of ids are held at a time: longer ones are no ids, but a column that was taken for them."""


@dataclass
class Checked:
    """Reads columns of chunks under one contract and map; what is wrong goes to `findings`."""

    contract: Contract
    column_map: ColumnMap
    findings: Findings
    now: int
    """Seconds since 1970: nothing may have happened later."""
    unscored: range = range(0)
    """Times of which no payment can be scored."""
    _wrong: set[tuple[str, str]] = field(default_factory=set)

    def cells(self, chunk: Chunk, name: str) -> pa.Array:
        """The bank's cells of a canonical column."""
        return conversion.cells(chunk, self.column_map.origin(name), self.column_map.missing)

    def numbers(self, chunk: Chunk, name: str, feature: Feature | None = None) -> tuple[Floats, Mask]:
        """Values, 0 where one is missing and may be, and which rows have one."""
        column, origin = self.contract.column(name), self.column_map.origin(name)
        cells = self.cells(chunk, name)
        values = self._typed(chunk, name, lambda: self._numbers(name, cells))
        if values is None:
            return np.zeros(len(chunk)), np.zeros(len(chunk), np.bool_)
        known = np.ones(len(chunk), np.bool_)
        if column.missing_below is not None:
            with np.errstate(invalid="ignore"):
                known = values >= column.missing_below
            unreadable = (
                np.isnan(values) & cells.is_valid().to_numpy(zero_copy_only=False) & pa.types.is_string(cells.type)
            )
            values = np.where(known | unreadable, values, 0.0)
        self._rows("finite", chunk, name, ~np.isfinite(values), conversion.number_rule(origin), cells)
        self._range(chunk, column, values, cells, feature)
        return values, known

    def negative(self, chunk: Chunk, name: str) -> Mask:
        """Which rows have a number below 0."""
        cells = self.cells(chunk, name)
        values = self._typed(chunk, name, lambda: self._numbers(name, cells))
        if values is None:
            return np.zeros(len(chunk), np.bool_)
        with np.errstate(invalid="ignore"):
            return np.asarray(values < 0)

    def times(self, chunk: Chunk, name: str) -> Times:
        """Seconds since 1970, NO_TIME where there is none; one is required where the contract says so. What is out of
        bounds is told, and comes back as the bound."""
        column, origin = self.contract.column(name), self.column_map.origin(name)
        cells = self.cells(chunk, name)
        found = self._typed(chunk, name, lambda: conversion.times(cells, origin))
        if found is None:
            return np.full(len(chunk), NO_TIME)
        absent = found == NO_TIME
        unread = absent & cells.is_valid().to_numpy(zero_copy_only=False)
        rule = "must hold times such as 2018-04-01 12:30:00"
        self._rows("time", chunk, name, absent if column.required else unread, rule, cells)
        rule = f"must not be later than now, {conversion.time_text(self.now)}"
        self._rows("future", chunk, name, found > self.now, rule, cells)
        rule = f"must not be before {conversion.time_text(conversion.LEAST_TIME)}"
        self._rows("past", chunk, name, ~absent & (found < conversion.LEAST_TIME), rule, cells)
        if name == "time" and self.unscored:
            first = conversion.time_text(self.unscored.stop)[:10]
            rule = f"must be from {first} on to be scored, the first day that features look back on whole windows"
            early = (found >= self.unscored.start) & (found < self.unscored.stop)
            self._rows("past", chunk, name, early, rule, cells)
        return np.where(absent, found, np.clip(found, conversion.LEAST_TIME, conversion.MOST_TIME))

    def labels(self, chunk: Chunk) -> NDArray[np.int8]:
        """1, 0, and -1 where it is not known and need not be."""
        cells = self.cells(chunk, LABEL)
        found = self._typed(chunk, LABEL, lambda: conversion.flags(cells, self.column_map.origin(LABEL)))
        if found is None:
            return np.zeros(len(chunk), np.int8)
        required = self.contract.column(LABEL).required
        bad = found < (0 if required else -1)
        self._rows("label", chunk, LABEL, bad, "must be 0 or 1" if required else "must be 0, 1 or empty", cells)
        return np.where(bad, np.int8(0), found)

    def texts(self, chunk: Chunk, name: str) -> pa.Array:
        """Ids, each row's own."""
        cells = self.cells(chunk, name)
        found = self._typed(chunk, name, lambda: conversion.texts(cells))
        if found is None:
            return pa.array([""] * len(chunk))
        self._rows("empty", chunk, name, found.is_null().to_numpy(zero_copy_only=False), "must hold an id", cells)
        found = pc.fill_null(found, "")
        long = pc.greater(pc.binary_length(found), MOST_ID_BYTES).to_numpy(zero_copy_only=False)
        self._rows("long", chunk, name, long, f"must hold ids of at most {MOST_ID_BYTES} bytes", cells)
        return found

    def known_in_time(self, chunk: Chunk, name: str, times: Times, labels: NDArray[np.int8], known_at: Times) -> None:
        """A label is known at some time, and not before its payment."""
        cells, known = self.cells(chunk, name), labels >= 0
        self._rows(
            "known", chunk, name, known & (known_at == NO_TIME), f"must hold a time where {LABEL} is known", cells
        )
        early = known & (known_at != NO_TIME) & (known_at < times)
        self._rows("future", chunk, name, early, "must not be before the payment", cells)

    def _numbers(self, name: str, cells: pa.Array) -> Floats:
        origin, may_be_flags = self.column_map.origin(name), self.contract.column(name).unit == _FLAG_UNIT
        return conversion.numbers(cells, origin.form, origin.decimal, may_be_flags=may_be_flags)

    def _range(self, chunk: Chunk, column: Column, values: Floats, cells: pa.Array, feature: Feature | None) -> None:
        finite = np.isfinite(values)
        if feature is not None:
            with np.errstate(over="ignore", invalid="ignore"):  # infinity is too large as well
                units = np.abs(np.rint(values / feature.resolution))
            unit = f"its resolution, {feature.resolution:g} {feature.unit}"
            rule = f"must lie within ±2**40 times {unit}"  # what the release door refuses too
            self._rows("range", chunk, column.name, finite & (units >= VALUE_CAP), rule, cells)
        least, most = column.least, column.most
        if least is not None:
            rule = f"must be at least {least:g} {column.unit}"
            self._rows("range", chunk, column.name, finite & (values < least), rule, cells)
        if most is not None:
            rule = f"must be at most {most:g} {column.unit}"
            self._rows("range", chunk, column.name, finite & (values > most), rule, cells)

    def _rows(self, rule: str, chunk: Chunk, name: str, bad: Mask, words: str, cells: pa.Array) -> None:
        if not bad.any():
            return
        own = _called(self.column_map.origin(name).columns)

        def told(index: int) -> tuple[str, int]:
            return f"{chunk.file}: {own} {words}, got {conversion.shown(cells, index)}", chunk.row(index)

        self.findings.rows(rule, chunk.file, name, bad, told)

    def _typed(self, chunk: Chunk, name: str, convert: Callable[[], T]) -> T | None:
        """What it converts to; nothing where the column is of another type, which is said once a file."""
        try:
            return convert()
        except WrongType as error:
            if (chunk.file, name) not in self._wrong:
                self._wrong.add((chunk.file, name))
                own = _called(self.column_map.origin(name).columns)
                self.findings.add(Fault("type", f"{chunk.file}: {own} {error}", chunk.file, name))
            return None


def _called(columns: tuple[str, ...]) -> str:
    """The bank's own name for it: that is what somebody will look for."""
    return f"column {columns[0]!r}" if len(columns) == 1 else f"columns {', '.join(map(repr, columns))}"
