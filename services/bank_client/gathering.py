"""Columns of many rows gathered chunk by chunk into arrays, in little more memory than the arrays."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.bank_client.findings import SHOWN_A_RULE, Fault, Findings
from services.bank_client.sources import Chunk

_IS_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}").fullmatch
"""In a whole number's one way to be written: 007, +7, -0 and 0x7 are texts of their own."""
_BLOCK_BYTES = 1 << 26
_CODED_ROWS = 262_144


class Gathered:
    """One array in blocks, each so large that the system has its memory back as soon as it is copied; what is not
    filled of a block costs none."""

    def __init__(self) -> None:
        self._blocks: list[NDArray[Any]] = []
        self._filled: list[int] = []

    def __len__(self) -> int:
        return sum(self._filled)

    def add(self, part: NDArray[Any]) -> None:
        """The next rows, of the type of the first."""
        start = 0
        while start < len(part):
            if not self._blocks or self._filled[-1] == len(self._blocks[-1]):
                row_bytes = max(part.nbytes // len(part), 1)
                self._blocks.append(np.empty((-(-_BLOCK_BYTES // row_bytes), *part.shape[1:]), part.dtype))
                self._filled.append(0)
            block, filled = self._blocks[-1], self._filled[-1]
            taken = part[start : start + len(block) - filled]
            block[filled : filled + len(taken)] = taken
            self._filled[-1] += len(taken)
            start += len(taken)

    def whole(self, kind: Any) -> NDArray[Any]:  # noqa: ANN401  # what numpy takes as a dtype
        """All rows, and none is left here."""
        if not self._blocks:
            return np.empty(0, kind)
        made = np.empty((len(self), *self._blocks[0].shape[1:]), kind)
        start = 0
        self._blocks.reverse()
        for filled in self._filled:
            made[start : start + filled] = self._blocks.pop()[:filled]
            start += filled
        self._filled = []
        return made


@dataclass
class Codes:
    """Texts as numbers from 0, in the order in which they first come; many rows at a time, as each time costs a look at
    all that are known."""

    known: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    _waiting: list[pa.Array] = field(default_factory=list)
    _codes: Gathered = field(default_factory=Gathered)

    def add(self, column: pa.Array) -> None:
        """The next rows."""
        self._waiting.append(column)
        if sum(map(len, self._waiting)) >= _CODED_ROWS:
            self._code()

    def count(self) -> int:
        """How many texts there are."""
        self._code()
        return len(self.known)

    def whole(self) -> NDArray[np.int64]:
        """(rows,) the code of each text, and no row is left here."""
        self._code()
        return self._codes.whole(np.int64)

    def ranks(self) -> NDArray[np.int64]:
        """(texts,) the place of each code's text in the order of the texts' bytes."""
        self._code()
        ranks = np.empty(len(self.known), np.int64)
        ranks[pc.sort_indices(self.known).to_numpy()] = np.arange(len(ranks))
        return ranks

    def _code(self) -> None:
        if self._waiting:
            column, self._waiting = pa.concat_arrays(self._waiting), []
            places = pc.index_in(column, self.known)
            if places.null_count:
                fresh = pc.unique(column.filter(places.is_null()))
                self.known = pa.concat_arrays([self.known, fresh])
                places = pc.index_in(column, self.known)
            self._codes.add(places.to_numpy(zero_copy_only=False))


@dataclass
class Ids:
    """Ids that must be unique, 8 bytes each: whole numbers as they are, texts by a hash of 64 bits, of which two of
    ten million are equal once in 400,000 files. Which of both an id is does not depend on those it comes with."""

    numbers: Gathered = field(default_factory=Gathered)
    numeric: bool = True
    places: list[tuple[int, Chunk]] = field(default_factory=list)
    """The first row of each chunk, over all files, and where that is."""
    count: int = 0

    def add(self, chunk: Chunk, column: pa.Array) -> None:
        """A chunk's ids as texts."""
        found = as_numbers(column)
        if found is None:
            self.numeric = False
            found = _one_by_one(column)
        self.numbers.add(found)
        self.places.append((self.count, replace(chunk, columns={})))
        self.count += len(column)

    def check(self, column: str, findings: Findings) -> NDArray[np.int64]:
        """Names the rows whose id came before; returns the numbers of all."""
        numbers = self.numbers.whole(np.int64)
        order = np.argsort(numbers, kind="stable")
        ordered = numbers[order]
        again = np.sort(order[1:][ordered[1:] == ordered[:-1]])
        for place, row in enumerate(again[:SHOWN_A_RULE].tolist()):
            file, number = self._place(row)
            sentence = f"{file}: {column} must be unique, the id in row {number} came before"
            left = len(again) - place if place == SHOWN_A_RULE - 1 else 1
            findings.add(Fault("duplicate", sentence, file, column, number), left)
        return numbers

    def _place(self, row: int) -> tuple[str, int]:
        first, chunk = next(place for place in reversed(self.places) if place[0] <= row)
        return chunk.file, chunk.row(row - first)


def as_numbers(column: pa.Array) -> NDArray[np.int64] | None:
    """Texts that all are whole numbers as such; None where one is not."""
    try:
        found = column.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    if not pc.all(pc.equal(found.cast(pa.string()), column)).as_py():  # the cast takes 007, -0 and 0x7 too
        return None
    return np.asarray(found.to_numpy(zero_copy_only=False))


def id_numbers(ids: pa.Array) -> NDArray[np.int64]:
    """A number for each id, the same for equal ids whatever others are beside them."""
    found = as_numbers(ids)
    return _one_by_one(ids) if found is None else found


def id_number(text: str) -> int:
    """The number of one id: a whole number as it is, another text by a hash of 64 bits."""
    number = int(text) if _IS_WHOLE_NUMBER(text) else hash(text)
    return number if -(2**63) <= number < 2**63 else hash(text)


def _one_by_one(ids: pa.Array) -> NDArray[np.int64]:
    return np.fromiter(map(id_number, ids.to_pylist()), np.int64, len(ids))


def spread(columns: Sequence[NDArray[Any]], kind: Any) -> NDArray[Any]:  # noqa: ANN401  # what numpy takes as a dtype
    """Columns side by side, (rows, columns) in row order."""
    made = np.empty((len(columns[0]), len(columns)), kind)
    for place, column in enumerate(columns):
        made[:, place] = column
    return made
