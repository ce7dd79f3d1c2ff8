"""numpy's legacy random numbers of many streams side by side: the draws of `RandomState(seed)`, bit for bit.

One stream after the other costs a call a number. Here all streams take the same step at once, each from its own
uniform numbers; logarithms are the C library's, as numpy's legacy code takes them, and not numpy's vectorised ones.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Which = NDArray[np.intp]
Floats = NDArray[np.float64]

_WIDTH = 1024
_RESERVE = 384
"""Uniform numbers that a stream has at least after `refill`; a draw beyond them fails, it does not go wrong."""


class Streams:
    """One `RandomState` for each seed; `which` names streams by their place, each at most once a call."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._sources = [np.random.RandomState(seed) for seed in seeds]
        self._uniform = np.empty((len(seeds), _WIDTH))
        self._next = np.full(len(seeds), _WIDTH)
        self._spare = np.full(len(seeds), np.nan)  # the second of a pair of normal numbers; NaN where there is none
        self.refill()

    def refill(self) -> None:
        """Draws uniform numbers for the streams that have fewer than the reserve."""
        for i in np.flatnonzero(self._next > _WIDTH - _RESERVE):
            left = self._uniform[i, self._next[i] :].copy()
            self._uniform[i, : len(left)] = left
            self._uniform[i, len(left) :] = self._sources[i].random_sample(_WIDTH - len(left))
            self._next[i] = 0

    def uniform(self, which: Which) -> Floats:
        """One number of [0, 1) from each."""
        drawn: Floats = self._uniform[which, self._next[which]]
        self._next[which] += 1
        return drawn

    def poisson(self, which: Which, rates: Floats) -> NDArray[np.int64]:
        """One count from each, for rates below 10: as many as uniform numbers multiply to more than exp(-rate)."""
        least = np.fromiter(map(math.exp, (-rates).tolist()), np.float64, len(rates))
        counts, products = np.zeros(len(which), np.int64), np.ones(len(which))
        going = np.flatnonzero(rates > 0)  # a rate of 0 draws nothing
        while len(going):
            products[going] *= self.uniform(which[going])
            going = going[products[going] > least[going]]
            counts[going] += 1
        return counts

    def normal(self, which: Which) -> Floats:
        """One standard normal number from each, by Marsaglia's polar method, which makes two at a time."""
        drawn = self._spare[which]
        fresh = np.flatnonzero(np.isnan(drawn))
        self._spare[which] = np.nan
        drawn[fresh], self._spare[which[fresh]] = self._pairs(which[fresh])
        return drawn

    def _pairs(self, which: Which) -> tuple[Floats, Floats]:
        points = np.empty((2, len(which)))
        going = np.arange(len(which))
        while len(going):
            across = 2.0 * self.uniform(which[going]) - 1.0
            along = 2.0 * self.uniform(which[going]) - 1.0
            points[:, going] = across, along
            radius = across * across + along * along
            going = going[(radius >= 1.0) | (radius == 0.0)]
        squares = points[0] * points[0] + points[1] * points[1]
        logarithms = np.fromiter(map(math.log, squares.tolist()), np.float64, len(squares))
        factors = np.sqrt(-2.0 * logarithms / squares)
        return factors * points[1], factors * points[0]
