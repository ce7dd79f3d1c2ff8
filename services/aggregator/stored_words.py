"""Words in files, a block at a time: what is in memory grows neither with the model nor with the number of banks.

Few words may be in memory instead, and are read in the same way.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from fedfraud.chunks import Part
from fedfraud.errors import Invalid
from fedfraud.fixed_point import TrainCodec, Words
from fedfraud.model import Vector
from fedfraud.packing import NARROW_BYTES, Narrow, Packing, multiplied
from services.aggregator.averaging import exact_sum

BLOCK_WORDS = 1 << 17
"""One MiB."""


def read(of: Path | Words, place: slice) -> Words:
    """The words of this place, all at once, of those in the file or in memory."""
    if not isinstance(of, Path):
        return of[place]
    words = np.fromfile(of, "<u8", place.stop - place.start, offset=8 * place.start)
    if len(words) != place.stop - place.start:
        raise Invalid(f"a file must have {place.stop} words, {of.name} has {of.stat().st_size / 8:g}")
    return words


def read_vector(path: Path, place: slice) -> Vector:
    """The coordinates of this place in a model's file."""
    vector = np.fromfile(path, "<f4", place.stop - place.start, offset=4 * place.start)
    if len(vector) != place.stop - place.start:
        raise Invalid(f"a file must have {place.stop} coordinates, {path.name} has {path.stat().st_size / 4:g}")
    return vector


def blocks(of: Path | Words, place: slice) -> Iterator[Words]:
    """The same in pieces."""
    for block in places(place):
        yield read(of, block)


def places(whole: slice) -> Iterator[slice]:
    """Where the blocks of a place begin and end."""
    edges = [*range(whole.start, whole.stop, BLOCK_WORDS), whole.stop]
    return (slice(*edge) for edge in pairwise(edges))


def added(paths: Sequence[Path], packing: Packing) -> Iterator[Words]:
    """The exact sum of plain contributions in files, in pieces."""
    coordinates = Coordinates(packing)
    for part in packing.parts:
        weights = {path: weight_of(path, packing) for path in paths} if part == packing.coordinates else {}
        for block in places(part):
            pieces = (
                coordinates.read(path, block, weights[path]) if weights else told(path, packing, block)
                for path in paths
            )
            yield exact_sum(pieces, block.stop - block.start)


def told(path: Path, packing: Packing, place: slice) -> Words:
    """The words of this place, none of them a coordinate, of a plain contribution."""
    offset, kind = packing.where(place)
    words = np.fromfile(path, kind, place.stop - place.start, offset=offset)
    if len(words) != place.stop - place.start:
        raise _too_short(path, packing)
    return words.astype(np.uint64, copy=False)


def weight_of(path: Path, packing: Packing) -> int:
    """What the coordinates of a plain contribution are multiplied by."""
    after = packing.coordinates.stop
    (weight,) = told(path, packing, slice(after, after + 1)).view(np.int64)
    return int(weight)


class Coordinates:
    """Reads coordinates of plain contributions, each time into the same memory: fresh one takes longer than to add."""

    def __init__(self, packing: Packing) -> None:
        self._packing = packing
        self._narrow, self._words = np.empty(BLOCK_WORDS, "<i4"), np.empty(BLOCK_WORDS, np.int64)

    def read(self, path: Path, block: slice, weight: int) -> Words:
        """The words of a block, by their places among all words; until the next one is read."""
        (offset, _), count = self._packing.where(block), block.stop - block.start
        narrow, words = self._narrow[:count], self._words[:count]
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            if file.readinto(narrow.data) != narrow.nbytes:
                raise _too_short(path, self._packing)
        np.multiply(narrow, weight, out=words, dtype=np.int64)
        return words.view(np.uint64)


class Extremes:
    """The least and the largest coordinate of a plain contribution, before its weight, while its bytes pass in pieces
    of any length."""

    def __init__(self, head_bytes: int) -> None:
        """So many come before the first coordinate."""
        self._ahead = head_bytes
        self._begun = b""
        self.found = np.zeros(2, np.int32)
        """The two, or 0 where the contribution has none beyond it."""

    def take(self, piece: Part) -> None:
        """The next bytes; a coordinate may begin in one piece and end in a later one."""
        head = min(self._ahead, len(piece))
        self._ahead -= head
        missing = -len(self._begun) % NARROW_BYTES
        self._begun += piece[head : head + missing]
        if len(self._begun) == NARROW_BYTES:
            self._look(np.frombuffer(self._begun, "<i4"))
            self._begun = b""
        if not self._begun and (rest := len(piece) - head - missing) > 0:
            count, over = divmod(rest, NARROW_BYTES)
            self._look(np.frombuffer(piece, "<i4", count, head + missing) if count else np.empty(0, np.int32))
            self._begun = bytes(piece[len(piece) - over :]) if over else b""

    def _look(self, narrow: Narrow) -> None:
        if len(narrow):
            least, largest = self.found
            self.found[:] = min(least, narrow.min()), max(largest, narrow.max())


def check(path: Path, packing: Packing, extremes: Extremes) -> None:
    """Holds one bank's stored contribution to the length and the bounds of every segment. `extremes` are those of the
    update's coordinates, as they passed."""
    layout, length = packing.layout, path.stat().st_size
    if length != packing.size:
        raise Invalid(f"a contribution must have {packing.size} bytes, got {length}")
    for segment, codec in layout.codecs.items():
        place = layout.place(segment)
        if isinstance(codec, TrainCodec):
            counts = told(path, packing, codec.counts(place.start))
            weight, _ = codec.opened_counts(counts)
            try:
                codec.check_pieces([multiplied(extremes.found, weight)], counts)
            except Invalid:  # what is beyond its bounds is looked for, so that the refusal names it
                narrow = Coordinates(packing)
                blocks = (narrow.read(path, block, weight) for block in places(packing.coordinates))
                codec.check_pieces(blocks, counts)
                raise
        else:
            codec.check(told(path, packing, place))


def _too_short(path: Path, packing: Packing) -> Invalid:
    return Invalid(f"a contribution must have {packing.size} bytes, {path.name} has {path.stat().st_size}")
