"""Words in files, a block at a time: what is in memory grows neither with the model nor with the number of banks."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedfraud.chunks import Part
from fedfraud.errors import Invalid
from fedfraud.fixed_point import Segment, TrainCodec, Words
from fedfraud.layout import Layout
from services.aggregator.averaging import exact_sum

BLOCK_WORDS = 1 << 17
"""One MiB."""


def read(path: Path, place: slice) -> Words:
    """The words of this place in the file, all at once."""
    words = np.fromfile(path, "<u8", place.stop - place.start, offset=8 * place.start)
    if len(words) != place.stop - place.start:
        raise Invalid(f"a file must have {place.stop} words, {path.name} has {path.stat().st_size / 8:g}")
    return words


def blocks(path: Path, place: slice) -> Iterator[Words]:
    """The same in pieces."""
    for block in places(place):
        yield read(path, block)


def places(whole: slice) -> Iterator[slice]:
    """Where the blocks of a place begin and end."""
    edges = [*range(whole.start, whole.stop, BLOCK_WORDS), whole.stop]
    return (slice(*edge) for edge in pairwise(edges))


def added(paths: Sequence[Path], word_count: int) -> Iterator[Words]:
    """The exact sum of contributions in files, in pieces."""
    for block in places(slice(0, word_count)):
        yield exact_sum((read(path, block) for path in paths), block.stop - block.start)


class Extremes:
    """The least and the largest word of a place, signed, while a file's bytes pass in pieces of any length."""

    def __init__(self, place: slice) -> None:
        self._place = place
        self._found = np.zeros(2, np.int64)
        self._passed, self._begun = 0, b""

    @property
    def words(self) -> Words:
        """The two, or 0 where the place has none beyond it."""
        return self._found.view(np.uint64)

    def take(self, piece: Part) -> None:
        """The next bytes; a word may begin in one piece and end in a later one."""
        missing = -len(self._begun) % 8
        self._begun += piece[:missing]
        if len(self._begun) == 8:
            self._look(np.frombuffer(self._begun, "<i8"))
            self._begun = b""
        if not self._begun:
            count, rest = divmod(max(len(piece) - missing, 0), 8)
            self._look(np.frombuffer(piece, "<i8", count, missing) if count else np.empty(0, np.int64))
            self._begun = bytes(piece[len(piece) - rest :]) if rest else b""

    def _look(self, words: NDArray[np.int64]) -> None:
        start, stop = (max(edge - self._passed, 0) for edge in (self._place.start, self._place.stop))
        inside, least, largest = words[start:stop], *self._found
        if len(inside):
            self._found[:] = min(least, inside.min()), max(largest, inside.max())
        self._passed += len(words)


def check(path: Path, layout: Layout, extremes: Extremes) -> None:
    """Holds one bank's stored contribution to the length and the bounds of every segment. `extremes` are those of the
    update's coordinates, as they passed."""
    length = path.stat().st_size
    if length != 8 * layout.length:
        raise Invalid(f"a contribution must have {layout.length} words, got {length / 8:g}")
    for segment, codec in layout.codecs.items():
        place = layout.place(segment)
        if isinstance(codec, TrainCodec):
            counts = read(path, codec.counts(place.start))
            try:
                codec.check_pieces([extremes.words], counts)
            except Invalid:  # what is beyond its bounds is looked for, so that the refusal names it
                codec.check_pieces(blocks(path, codec.coordinates(place.start)), counts)
                raise
        else:
            codec.check(read(path, place))


def update_place(layout: Layout) -> slice:
    """Where the coordinates of an update are in a contribution; an empty place where it has no update."""
    codec = layout.codecs.get(Segment.TRAIN)
    return codec.coordinates(layout.place(Segment.TRAIN).start) if isinstance(codec, TrainCodec) else slice(0, 0)
