"""The codec of the standardise segment: exact sums of values and of their squares, beyond 64 bits.

Its bounds are as fixed_point.py has them: the sum over MAX_SEATS banks cannot wrap.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedfraud.errors import Invalid
from fedfraud.fixed_point import LIMB_BITS, ROW_CAP, Words

VALUE_CAP = 2**40
LIMBS = 4
_BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class StandardiseSum:
    """The opened sum of a standardise segment; means and deviations (features,) in the features' units."""

    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    row_count: int
    fraud_count: int


@dataclass(frozen=True)
class StandardiseCodec:
    """Training rows only: for each feature the sum of x, then of x*x, each a 128-bit integer in four 32-bit limbs, low
    first, x in multiples of the feature's resolution; then rows, then frauds."""

    resolutions: tuple[float, ...]

    @property
    def length(self) -> int:
        """Words in the segment."""
        return 2 * LIMBS * len(self.resolutions) + 2

    def encode(self, features: NDArray[np.float64], labels: NDArray[np.bool_]) -> Words:
        """(rows, features) in the features' units and (rows,) labels to words. Not finite or too large: refused."""
        if features.ndim != 2 or features.shape[1] != len(self.resolutions):
            raise Invalid(f"features must have {len(self.resolutions)} columns, got shape {features.shape}")
        if labels.shape != (len(features),):
            raise Invalid(f"labels must be one a row, {len(features)}, got shape {labels.shape}")
        sums = [0] * (2 * len(self.resolutions))
        for start in range(0, len(features), _BLOCK_ROWS):
            units = self._units(features[start : start + _BLOCK_ROWS], start)
            for place, column in enumerate(units.T):
                sums[2 * place] += _exact_sum(column)
                sums[2 * place + 1] += _exact_sum_of_squares(column)
        limbs = [value >> (LIMB_BITS * limb) & (2**LIMB_BITS - 1) for value in sums for limb in range(LIMBS)]
        return np.array([*limbs, len(labels), int(labels.sum())], np.uint64)

    def _units(self, features: NDArray[np.float64], start: int) -> NDArray[np.int64]:
        """Some rows, the first of which is `start`, in multiples of the resolutions."""
        units = np.rint(features / np.asarray(self.resolutions))
        bad = ~(np.abs(units) < VALUE_CAP)  # NaN fails the comparison too
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise Invalid(
                f"a value must be finite and below 2**40 resolutions, got {features[row, column]} "
                f"in row {start + row}, column {column}"
            )
        return np.asarray(units.astype(np.int64))

    def check(self, words: Words) -> None:
        """Holds one bank's segment to its bounds."""
        limbs, rows, frauds = words[:-2], int(words[-2]), int(words[-1])
        if (limbs >> np.uint64(LIMB_BITS)).any():
            raise Invalid(f"a limb must be below 2**{LIMB_BITS}, got {int(limbs.max())}")
        if not 1 <= rows <= ROW_CAP:
            raise Invalid(f"rows must be 1 to {ROW_CAP}, got {rows}")
        if frauds > rows:
            raise Invalid(f"frauds must be at most the rows, {rows}, got {frauds}")
        for column, (total, squares) in enumerate(self._sums(words)):
            if squares > rows * VALUE_CAP**2:
                raise Invalid(
                    f"a sum of squares must be at most the rows times 2**80, {rows * VALUE_CAP**2}, got {squares} "
                    f"in column {column}"
                )
            if total * total > rows * squares:  # holds |total| to rows * 2**40 too, and squares to 0 or more
                raise Invalid(
                    f"a sum's square must be at most the rows times the sum of squares, {rows * squares}, "
                    f"got {total * total} in column {column}"
                )

    def check_sum(self, words: Words, contributions: int) -> None:
        """Holds an opened sum to what so many contributions within their bounds can add up to."""
        rows, frauds, most = int(words[-2]), int(words[-1]), contributions * ROW_CAP
        if not contributions <= rows <= most or frauds > rows:
            raise Invalid(
                f"rows of {contributions} banks must be {contributions} to {most} and frauds at most as many, "
                f"got {rows} and {frauds}"
            )
        for column, (total, squares) in enumerate(self._sums(words)):
            if not 0 <= squares <= rows * VALUE_CAP**2 or total * total > rows * squares:
                raise Invalid(f"sums must be of {rows} values below 2**40 and their squares, column {column} is not")

    def decode(self, words: Words) -> StandardiseSum:
        """Means and deviations from the exact sums; a deviation of 0 counts as 1."""
        rows, frauds = int(words[-2]), int(words[-1])
        if rows < 1:
            raise Invalid(f"rows must be at least 1, got {rows}")
        means, deviations = [], []
        for resolution, (total, squares) in zip(self.resolutions, self._sums(words), strict=True):
            # n * sum(x*x) - sum(x)**2 is an exact integer: nothing cancels. One division, correctly rounded.
            variance = (rows * squares - total * total) / (rows * rows)
            means.append(total / rows * resolution)
            deviations.append(math.sqrt(variance) * resolution if variance > 0 else 1.0)
        return StandardiseSum(np.array(means), np.array(deviations), rows, frauds)

    def _sums(self, words: Words) -> list[tuple[int, int]]:
        sums = [_from_limbs(group) for group in words[:-2].reshape(-1, LIMBS).tolist()]
        return list(zip(sums[::2], sums[1::2], strict=True))


def _exact_sum(values: NDArray[np.int64]) -> int:
    # |x| < 2**40, so 2**22 rows at a time stay below 2**62.
    return sum(int(values[start : start + 2**22].sum()) for start in range(0, len(values), 2**22))


def _exact_sum_of_squares(values: NDArray[np.int64]) -> int:
    # x = high * 2**20 + low with both below 2**20: each product is below 2**40.
    high, low = np.divmod(np.abs(values), 2**20)
    return (_exact_sum(high * high) << 40) + (_exact_sum(high * low) << 21) + _exact_sum(low * low)


def _from_limbs(limbs: list[int]) -> int:
    """Sums of limbs, each possibly above 2**32, to the signed 128-bit integer that they stand for."""
    width = 1 << (LIMB_BITS * LIMBS)
    value = sum(limb << (LIMB_BITS * place) for place, limb in enumerate(limbs)) % width
    return value - width if value >= width // 2 else value
