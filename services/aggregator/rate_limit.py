"""A bound on how often one caller may do one thing."""

import time

from fedfraud.errors import TooLarge


class RateLimit:
    """A token bucket: `burst` calls at once, then `rate` a second. `what` names them in the refusal, in the plural."""

    def __init__(self, what: str, rate: float, burst: float) -> None:
        self._what = what
        self._rate, self._burst = rate, burst
        self._left, self._at = burst, time.monotonic()

    def take(self) -> None:
        """Counts one call; refused when the bucket is empty."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            raise TooLarge(f"{self._what} must be at most {self._rate:g} a second, got more; try again")
        self._left -= 1
