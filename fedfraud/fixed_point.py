"""Values to integers and back: one codec a segment; those of standardise and trade have modules of their own.

All that the federation computes is a sum over banks of uint64 vectors, modulo 2**64. Negative integers are two's
complement. A codec's `check` holds one bank's segment to its bounds; the bounds are such that the sum over MAX_SEATS
banks cannot wrap, which `check_capacity` verifies when a service starts.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from fedfraud.errors import Invalid, Misconfigured

Words = NDArray[np.uint64]

MAX_SEATS = 4096
FRACTION_BITS = 24
WEIGHT_CAP = 2**20
ROW_CAP = 2**34
SCORED_CAP = 2**32 - 1
"""Rows that a bank scores: a histogram's count has four bytes in a plain contribution (packing.py)."""
LIMB_BITS = 32
BINS = 8192
CELL_CAP = 2**19 - 1
LOGIT_RANGE = 64.0
LOGIT_BEND = 2.0


class Segment(Enum):
    """The parts of a contribution."""

    COUNT = "count"
    STANDARDISE = "standardise"
    TRAIN = "train"
    EVALUATE = "evaluate"
    TRADE = "trade"


@dataclass(frozen=True)
class CountCodec:
    """Transactions and known frauds a (merchant bucket, day), a word a cell: `frauds * 2**32 + transactions`, both
    signed, since a bank's own noise may take a count below 0.

    Of one bank a count lies within ±CELL_CAP: the sum over MAX_SEATS carries from neither to the other.
    """

    bucket_count: int
    day_count: int

    @property
    def length(self) -> int:
        """Words in the segment."""
        return self.bucket_count * self.day_count

    def encode(self, counts: NDArray[np.int64]) -> Words:
        """(buckets, days, 2) of transactions and known frauds to words. What is beyond CELL_CAP counts as that."""
        if counts.shape != (self.bucket_count, self.day_count, 2):
            raise Invalid(f"counts must have shape {(self.bucket_count, self.day_count, 2)}, got {counts.shape}")
        held = np.clip(counts, -CELL_CAP, CELL_CAP)
        return ((held[..., 1] << LIMB_BITS) + held[..., 0]).reshape(-1).view(np.uint64)

    def check(self, words: Words) -> None:
        """Holds one bank's segment to its bounds."""
        self.check_sum(words, 1)

    def check_sum(self, words: Words, contributions: int) -> None:
        """Holds an opened sum to what so many contributions within their bounds can add up to."""
        most, counts = contributions * CELL_CAP, self.decode(words)
        outside = np.abs(counts) > most
        if outside.any():
            raise Invalid(f"a cell must count within ±{most}, got {int(counts[outside][0])}")

    def decode(self, words: Words) -> NDArray[np.int64]:
        """The summed counters, (buckets, days, 2)."""
        counts = np.empty((len(words), 2), np.int64)
        counts[:, 0] = words.astype(np.uint32).view(np.int32)  # the low half
        counts[:, 1] = (words.view(np.int64) - counts[:, 0]) >> LIMB_BITS
        return counts.reshape(self.bucket_count, self.day_count, 2)


@dataclass(frozen=True)
class TrainSum:
    """The opened sum of a train segment: `average` (parameters,) is in weight units, `clipped` counts coordinates."""

    average: NDArray[np.float64]
    weight: int
    clipped: int


@dataclass(frozen=True)
class TrainCodec:
    """`w * rint(clip(update, ±clip) * 2**24)` for each coordinate, then w, then how many coordinates were clipped."""

    parameter_count: int
    clip: float

    @property
    def length(self) -> int:
        """Words in the segment."""
        return self.parameter_count + 2

    def coordinates(self, start: int = 0) -> slice:
        """Where the update lies, in words of which the segment's first is `start`."""
        return slice(start, start + self.parameter_count)

    def counts(self, start: int = 0) -> slice:
        """Where the two counts behind it lie: the weight, and how many coordinates were clipped."""
        return slice(start + self.parameter_count, start + self.length)

    @property
    def _largest(self) -> int:
        return int(np.rint(self.clip * 2**FRACTION_BITS))

    def encode(self, update: NDArray[np.float32], weight: int) -> Words:
        """(parameters,) float32 and a weight in 1 to 2**20 to words. A coordinate that is not finite becomes 0 and
        counts as clipped: who chose the model must not learn from a refusal which rows it overflows on."""
        if update.shape != (self.parameter_count,):
            raise Invalid(f"an update must have {self.parameter_count} coordinates, got {update.size}")
        if not 1 <= weight <= WEIGHT_CAP:
            raise Invalid(f"a weight must be 1 to {WEIGHT_CAP}, got {weight}")
        values = update.astype(np.float64)
        clipped = np.clip(np.where(np.isfinite(values), values, 0.0), -self.clip, self.clip)
        fixed = np.rint(clipped * 2**FRACTION_BITS).astype(np.int64) * weight
        counts = np.array([weight, np.count_nonzero(clipped != values)], np.int64)
        return np.concatenate([fixed, counts]).view(np.uint64)

    def check(self, words: Words) -> None:
        """Holds one bank's segment to its bounds (plain mode: masked segments cannot be looked at)."""
        self.check_pieces([words[self.coordinates()]], words[self.counts()])

    def check_pieces(self, coordinates: Iterable[Words], counts: Words) -> None:
        """The same of a segment too large to be in memory: its coordinates in pieces, and its two counts."""
        weight, _ = self.opened_counts(counts)
        if not 1 <= weight <= WEIGHT_CAP:
            raise Invalid(f"a weight must be 1 to {WEIGHT_CAP}, got {weight}")
        self._check_bounds(coordinates, counts, 1)

    def check_sum(self, words: Words, contributions: int) -> None:
        """Holds an opened sum to what so many contributions within their bounds can add up to: a sum beyond proves that
        one of them was not, and does not say which."""
        counts, most = words[self.counts()], contributions * WEIGHT_CAP
        weight, _ = self.opened_counts(counts)
        if not contributions <= weight <= most:
            raise Invalid(f"a sum of {contributions} weights must be {contributions} to {most}, got {weight}")
        self._check_bounds([words[self.coordinates()]], counts, contributions)

    def decode(self, words: Words) -> TrainSum:
        """The sum over banks to the weighted average: one division, in float64."""
        counts = words[self.counts()]
        (average,) = self.averages([words[self.coordinates()]], counts)
        return TrainSum(average, *self.opened_counts(counts))

    def averages(self, coordinates: Iterable[Words], counts: Words) -> Iterator[NDArray[np.float64]]:
        """The same average in the pieces in which the sum comes, with its two counts."""
        weight, _ = self.opened_counts(counts)
        if weight < 1:
            raise Invalid(f"a sum of weights must be at least 1, got {weight}")
        return (_average(piece, weight) for piece in coordinates)

    @staticmethod
    def opened_counts(counts: Words) -> tuple[int, int]:
        """The weight and the clipped coordinates that the two counts say."""
        weight, clipped = counts.view(np.int64)
        return int(weight), int(clipped)

    def check_capacity(self) -> None:
        """Refuses a clip with which the sum over MAX_SEATS banks could wrap."""
        largest = (2**63 - 1) // (MAX_SEATS * WEIGHT_CAP) / 2**FRACTION_BITS
        if not self.clip <= largest:
            raise Misconfigured(
                f"a clip must be at most {largest:.8f}, or a sum over {MAX_SEATS} seats could wrap, got {self.clip}"
            )

    def _check_bounds(self, coordinates: Iterable[Words], counts: Words, contributions: int) -> None:
        """Coordinates within the weight times the clip, and no more clipped than there are."""
        weight, clipped = self.opened_counts(counts)
        bound, most, start = weight * self._largest, contributions * self.parameter_count, 0
        for piece in coordinates:
            fixed = piece.view(np.int64)
            if len(fixed) and not -bound <= int(fixed.min()) <= int(fixed.max()) <= bound:
                place = int(np.flatnonzero((fixed > bound) | (fixed < -bound))[0])
                raise Invalid(
                    f"a coordinate must lie within the weight times the clip, ±{bound}, got {fixed[place]} "
                    f"at coordinate {start + place}"
                )
            start += len(fixed)
        if not 0 <= clipped <= most:
            raise Invalid(f"clipped coordinates must be 0 to {most}, got {clipped}")


def _average(coordinates: Words, weight: int) -> NDArray[np.float64]:
    average = coordinates.view(np.int64).astype(np.float64)
    average /= weight
    average /= 2**FRACTION_BITS
    return average


@dataclass(frozen=True)
class EvaluateCodec:
    """Two histograms of logits, legitimate rows first, then frauds: BINS bins of equal width in
    arcsinh(logit / LOGIT_BEND) over ±LOGIT_RANGE, the outermost open. A bin edge lies at logit 0, probability 0.5.

    A model of one round spreads its logits over less than 1, one of ten rounds has single ones beyond 50: bins of
    0.002 at the middle and 0.07 at the ends keep average precision within .002 for both.
    """

    bins: int = BINS

    @property
    def length(self) -> int:
        """Words in the segment."""
        return 2 * self.bins

    def encode(self, logits: NDArray[np.floating], labels: NDArray[np.bool_]) -> Words:
        """(rows,) logits and (rows,) labels to words. Infinite ones count in the outermost bins, NaN in the lowest: who
        chose the model must not learn from a refusal which rows it overflows on."""
        index = self.places(logits)
        histograms = [np.bincount(index[labels == label], minlength=self.bins) for label in (False, True)]
        return np.concatenate(histograms).astype(np.uint64)

    def places(self, logits: NDArray[np.floating]) -> NDArray[np.int64]:
        """(rows,) the bin of each logit, from 0."""
        scores = np.where(np.isnan(logits), -np.inf, logits.astype(np.float64))
        # Floor first: a logit just below 0 stays below it.
        place = np.floor(np.arcsinh(scores / LOGIT_BEND) / self._width) + self.bins // 2
        return np.asarray(np.clip(place, 0, self.bins - 1), np.int64)

    def check(self, words: Words) -> None:
        """Holds one bank's segment to its bounds."""
        if (words > SCORED_CAP).any():
            raise Invalid(f"a histogram count must be at most {SCORED_CAP}, got {int(words.max())}")
        if int(words.sum()) > SCORED_CAP:
            raise Invalid(f"a histogram's rows must be at most {SCORED_CAP}, got {int(words.sum())}")

    def check_sum(self, words: Words, contributions: int) -> None:
        """Holds an opened sum to what so many contributions within their bounds can add up to."""
        most = contributions * SCORED_CAP
        if (words > most).any() or int(words.sum()) > most:
            raise Invalid(f"histogram counts of {contributions} banks must add up to at most {most}, got more")

    def decode(self, words: Words) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The summed counts a bin, (bins,) of legitimate rows and (bins,) of frauds, by rising score."""
        counts = words.view(np.int64)
        return counts[: self.bins].copy(), counts[self.bins :].copy()

    def centres(self) -> NDArray[np.float64]:
        """The logit in the middle of each bin, (bins,)."""
        places = (np.arange(self.bins) - self.bins // 2 + 0.5) * self._width
        return np.asarray(np.sinh(places) * LOGIT_BEND, np.float64)

    @property
    def _width(self) -> float:
        """Of a bin, in arcsinh(logit / LOGIT_BEND)."""
        return 2 * math.asinh(LOGIT_RANGE / LOGIT_BEND) / self.bins


def to_bytes(words: Words) -> bytes:
    """Little-endian, as on the wire and on disk."""
    return words.astype("<u8", copy=False).tobytes()


def from_bytes(data: bytes | bytearray | memoryview) -> Words:
    """Words of bytes that were received or stored."""
    if len(data) % 8:
        raise Invalid(f"a contribution must be a multiple of 8 bytes, got {len(data)}")
    return np.frombuffer(data, "<u8")
