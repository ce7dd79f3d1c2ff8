"""The bytes of a plain contribution: its words, but of an update the integers before its weight, four bytes each.

A coordinate's word is the weight times an integer of at most 32 bits, by the codec's bound on the clip. In plain rounds
the weight is told, so the integers alone are sent and kept: half the bytes of an update. They are multiplied out where
words are added, so the sum is the same. Masked words are uniformly random and have no shorter form.
"""

import numpy as np
from numpy.typing import NDArray

from fedfraud import fixed_point
from fedfraud.errors import Invalid
from fedfraud.fixed_point import Segment, TrainCodec, Words
from fedfraud.layout import Layout

Narrow = NDArray[np.int32]
"""Coordinates of an update before their weight."""
NARROW_BYTES, WORD_BYTES = 4, 8


class Packing:
    """Where what of a plain contribution of a layout lies in its bytes: first the words that are no coordinates of an
    update, little-endian uint64 in their order, then the coordinates, little-endian int32."""

    def __init__(self, layout: Layout) -> None:
        """`coordinates` is their place among the words; their weight is the word behind them."""
        self.layout = layout
        codec = layout.codecs.get(Segment.TRAIN)
        if isinstance(codec, TrainCodec):
            self.coordinates = codec.coordinates(layout.place(Segment.TRAIN).start)
        else:
            self.coordinates = slice(layout.length, layout.length)  # empty: there is no update
        self.word_count = layout.length
        self.narrow_count = self.coordinates.stop - self.coordinates.start
        self.head_words = self.word_count - self.narrow_count
        self.head_bytes = WORD_BYTES * self.head_words
        """Ahead of the coordinates."""
        self.size = self.head_bytes + NARROW_BYTES * self.narrow_count
        """In bytes."""

    def size_of(self, segment: Segment) -> int:
        """A segment's share of the bytes."""
        words = self.layout.codecs[segment].length
        saved = self.narrow_count if segment is Segment.TRAIN else 0
        return WORD_BYTES * words - (WORD_BYTES - NARROW_BYTES) * saved

    def head_place(self, place: slice) -> slice:
        """Where words that are no coordinates, by their places among all words, lie among the first ones."""
        ahead = self.narrow_count if place.start >= self.coordinates.stop else 0
        return slice(place.start - ahead, place.stop - ahead)

    def narrow_place(self, block: slice) -> tuple[int, int]:
        """Where coordinates, by their places among all words, lie in the bytes: their offset and their count."""
        ahead = block.start - self.coordinates.start
        return self.head_bytes + NARROW_BYTES * ahead, block.stop - block.start

    def pack(self, words: Words) -> bytes:
        """(word_count,) words within their bounds to bytes."""
        before, after = self.coordinates.start, self.coordinates.stop
        head = np.concatenate([words[:before], words[after:]])
        narrow = words[self.coordinates].view(np.int64) // self._weight(head)
        return fixed_point.to_bytes(head) + narrow.astype("<i4").tobytes()

    def unpack(self, data: bytes | bytearray | memoryview) -> Words:
        """Bytes that came from anywhere to (word_count,) words: what they say is not held to any bound here."""
        if len(data) != self.size:
            raise Invalid(f"a contribution must have {self.size} bytes, got {len(data)}")
        head = fixed_point.from_bytes(memoryview(data)[: self.head_bytes])
        before, after = self.coordinates.start, self.coordinates.stop
        words = np.empty(self.word_count, np.uint64)
        words[:before], words[after:] = head[:before], head[before:]
        words[self.coordinates] = multiplied(np.frombuffer(data, "<i4", offset=self.head_bytes), self._weight(head))
        return words

    def _weight(self, head: Words) -> int:
        """What the coordinates are multiplied by; anything where there are none."""
        return int(head.view(np.int64)[self.coordinates.start]) if self.narrow_count else 1


def multiplied(narrow: Narrow, weight: int) -> Words:
    """The words of coordinates, modulo 2**64."""
    return (narrow.astype(np.int64) * np.int64(weight)).view(np.uint64)
