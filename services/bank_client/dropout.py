"""What hidden units are divided by under dropout, drawn as torch.rand draws: its bits, in two thirds of its time."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

_DRAWN_BITS = 24
"""Of the 32 bits of a draw torch.rand takes these, the lowest, over their range."""


class Dropout:
    """Drops units with a probability of `share`; not for two threads at once."""

    def __init__(self, share: float) -> None:
        self.share = share
        self._kept, self._dropped = np.array([1 - share, np.inf], np.float32).view(np.int32)
        self._least = math.ceil(float(np.float32(share)) * 2**_DRAWN_BITS)
        self._lower: NDArray[np.uint64] = np.empty(0, np.uint64)
        """Kept from one time to the next: fresh memory takes longer to come by than to fill."""

    def divisors(self, units: int, draws: torch.Generator) -> torch.Tensor:
        """(units,) on the generator's device: the share that is kept, and infinity for a unit that is dropped, as where
        torch.rand gives less than `share`; in its order, and with the generator left where that leaves it."""
        if draws.device.type != "cpu":
            drawn = torch.rand(units, generator=draws, device=draws.device)
            return drawn.ge_(self.share).reciprocal_().mul_(1 - self.share)
        # Filling 64-bit integers takes two draws at a time, the first as the upper half, and half the time.
        pairs = torch.empty(-(-units // 2), dtype=torch.int64)
        pairs[: units // 2].random_(-(2**63), None, generator=draws)
        if units % 2:  # torch.rand of one takes one draw
            pairs[-1] = int(torch.rand(1, generator=draws).item() * 2**_DRAWN_BITS) << 32
        halves = pairs.numpy().view(np.uint64)
        if len(self._lower) < len(halves):
            self._lower = np.empty(len(halves), np.uint64)
        lower = np.left_shift(halves, 32, out=self._lower[: len(halves)])
        halves >>= 32
        halves |= lower  # the first comes first in memory
        words = halves.view(np.int32)
        words &= (1 << _DRAWN_BITS) - 1
        words -= self._least  # negative where the unit is dropped
        words >>= 31
        words &= self._kept ^ self._dropped
        words ^= self._kept
        return pairs.view(torch.float32)[:units]
