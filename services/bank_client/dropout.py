"""What hidden units are divided by under dropout, drawn as torch.rand draws: its bits, in two thirds of its time."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

_DRAWN_BITS = 24
"""Of the 32 bits of a draw torch.rand takes these, the lowest, over their range."""
_TOGETHER = 1 << 15
"""Pairs of draws that are looked at before more are drawn: they are in the processor's cache then."""


class Dropout:
    """Drops units with a probability of `share`; not for two threads at once."""

    def __init__(self, share: float) -> None:
        self.share = share
        kept, dropped = np.array([1 - share, np.inf], np.float32).view(np.int32)
        self._kept, self._difference = kept, kept ^ dropped
        self._least = np.int32(math.ceil(float(np.float32(share)) * 2**_DRAWN_BITS))
        self._lower: NDArray[np.uint64] = np.empty(_TOGETHER if share else 0, np.uint64)
        """Fresh memory takes longer to come by than to fill."""

    def divisors(self, units: int, draws: torch.Generator) -> torch.Tensor:
        """(units,) on the generator's device: the share that is kept, and infinity for a unit that is dropped, as where
        torch.rand gives less than `share`; in its order, and with the generator left where that leaves it."""
        if draws.device.type != "cpu":
            return self._one_by_one(units, draws)
        drawn = torch.empty(-(-units // 2), dtype=torch.int64)
        divisors = drawn.view(torch.float32)[:units]
        for pairs in torch.split(drawn[: units // 2], _TOGETHER):
            # To fill 64-bit integers takes two draws each, the first as the upper half, and half of their time.
            pairs.random_(-(2**63), None, generator=draws)
            self._look_at(pairs.numpy().view(np.uint64))
        if units % 2:
            divisors[-1:] = self._one_by_one(1, draws)
        return divisors

    def _one_by_one(self, units: int, draws: torch.Generator) -> torch.Tensor:
        drawn = torch.rand(units, generator=draws, device=draws.device)
        return drawn.ge_(self.share).reciprocal_().mul_(1 - self.share)

    def _look_at(self, pairs: NDArray[np.uint64]) -> None:
        """Makes of each pair of draws, in its place, the bits of two divisors, the first draw's first in memory."""
        lower = np.left_shift(pairs, 32, self._lower[: len(pairs)])
        pairs >>= 32
        pairs |= lower
        words = pairs.view(np.int32)
        words &= (1 << _DRAWN_BITS) - 1
        words -= self._least  # negative where the unit is dropped
        words >>= 31
        words &= self._difference
        words ^= self._kept
