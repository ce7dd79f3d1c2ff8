"""Words in files, a block at a time: what is in memory grows neither with the model nor with the number of banks."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from fedfraud.errors import Invalid
from fedfraud.fixed_point import TrainCodec, Words
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


def check(path: Path, layout: Layout) -> None:
    """Holds one bank's stored contribution to the length and the bounds of every segment."""
    length = path.stat().st_size
    if length != 8 * layout.length:
        raise Invalid(f"a contribution must have {layout.length} words, got {length / 8:g}")
    for segment, codec in layout.codecs.items():
        place = layout.place(segment)
        if isinstance(codec, TrainCodec):
            codec.check_pieces(blocks(path, coordinates(place)), read(path, tail(place)))
        else:
            codec.check(read(path, place))


def coordinates(place: slice) -> slice:
    """Of a train segment's place what the update lies in."""
    return slice(place.start, place.stop - 2)


def tail(place: slice) -> slice:
    """Of a train segment's place what the two counts lie in."""
    return slice(place.stop - 2, place.stop)
