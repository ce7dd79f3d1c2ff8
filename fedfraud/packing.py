"""The bytes of a plain contribution: its words, but four bytes each for what has no more in it.

A coordinate's word is the weight times an integer of at most 32 bits, by the codec's bound on the clip. In plain rounds
the weight is told, so the integers alone are sent and kept, and multiplied out where words are added. A histogram's
count has at most 32 bits by its bound. The sum is the same. Masked words are uniformly random and have no shorter form.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fedfraud.errors import Invalid
from fedfraud.fixed_point import Segment, TrainCodec, Words
from fedfraud.layout import Layout

Narrow = NDArray[np.int32]
"""Coordinates of an update before their weight."""
NARROW_BYTES, WORD_BYTES = 4, 8


class Packing:
    """Where what of a plain contribution of a layout lies in its bytes, little-endian: the words that are neither of
    the following in their order, uint64; the counts of the histograms, uint32; the coordinates of an update, int32."""

    def __init__(self, layout: Layout) -> None:
        """`counts` and `coordinates` are their places among the words; the word behind these is their weight."""
        self.layout = layout
        self.word_count = layout.length
        nothing = slice(self.word_count, self.word_count)
        self.counts = layout.place(Segment.EVALUATE) if Segment.EVALUATE in layout.codecs else nothing
        codec, self.coordinates = layout.codecs.get(Segment.TRAIN), nothing
        if isinstance(codec, TrainCodec):
            self.coordinates = codec.coordinates(layout.place(Segment.TRAIN).start)
        narrow = [self.counts, self.coordinates]
        edges = sorted({0, self.word_count, *(edge for place in narrow for edge in (place.start, place.stop))})
        self.parts = [slice(*edge) for edge in pairwise(edges)]
        """All words, in their order, in places of one kind each."""
        self._wide = [part for part in self.parts if part not in narrow]
        self._wide_bytes = WORD_BYTES * sum(map(_length, self._wide))
        self.head_bytes = self._wide_bytes + NARROW_BYTES * _length(self.counts)
        """Ahead of the coordinates."""
        self.size = self.head_bytes + NARROW_BYTES * _length(self.coordinates)
        """In bytes."""

    def size_of(self, segment: Segment) -> int:
        """A segment's share of the bytes."""
        narrow = {Segment.EVALUATE: self.counts, Segment.TRAIN: self.coordinates}.get(segment, slice(0, 0))
        return WORD_BYTES * self.layout.codecs[segment].length - (WORD_BYTES - NARROW_BYTES) * _length(narrow)

    def where(self, place: slice) -> tuple[int, str]:
        """Where the words of one kind that have this place lie in the bytes: their offset, and their type there."""
        if _within(place, self.coordinates):
            return self.head_bytes + NARROW_BYTES * (place.start - self.coordinates.start), "<i4"
        if _within(place, self.counts):
            return self._wide_bytes + NARROW_BYTES * (place.start - self.counts.start), "<u4"
        ahead = sum(_length(narrow) for narrow in (self.counts, self.coordinates) if narrow.stop <= place.start)
        return WORD_BYTES * (place.start - ahead), "<u8"

    def pack(self, words: Words) -> bytes:
        """(word_count,) words within their bounds to bytes."""
        wide = [words[place].astype("<u8", copy=False) for place in self._wide]
        counts, coordinates = words[self.counts].astype("<u4"), words[self.coordinates].view(np.int64)
        if len(coordinates):
            coordinates = coordinates // words[self._weight].view(np.int64)
        return b"".join(part.tobytes() for part in (*wide, counts, coordinates.astype("<i4")))

    def unpack(self, data: bytes | bytearray | memoryview) -> Words:
        """Bytes that came from anywhere to (word_count,) words: what they say is not held to any bound here."""
        if len(data) != self.size:
            raise Invalid(f"a contribution must have {self.size} bytes, got {len(data)}")
        words = np.empty(self.word_count, np.uint64)
        for place in self.parts:
            offset, kind = self.where(place)
            told = np.frombuffer(data, kind, _length(place), offset)
            words[place] = multiplied(told, self.weight(data)) if kind == "<i4" else told
        return words

    def weight(self, data: bytes | bytearray | memoryview) -> int:
        """What the coordinates in these bytes are multiplied by."""
        offset, _ = self.where(self._weight)
        return int(np.frombuffer(data, "<i8", 1, offset)[0])

    @property
    def _weight(self) -> slice:
        return slice(self.coordinates.stop, self.coordinates.stop + 1)


def multiplied(narrow: Narrow, weight: int) -> Words:
    """The words of coordinates, modulo 2**64."""
    return (narrow.astype(np.int64) * np.int64(weight)).view(np.uint64)


def _length(place: slice) -> int:
    return int(place.stop - place.start)


def _within(place: slice, whole: slice) -> bool:
    return bool(whole.start <= place.start and place.stop <= whole.stop)
