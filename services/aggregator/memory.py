"""What keeps the process's memory from growing with the number of its transfers."""

import ctypes
import sys
from contextlib import suppress

MEMORY_BYTES = 1 << 20
"""What a contribution may have at most to wait in memory until it is whole, and a sum or a model to be small; what is
larger waits in a file and is read from there a piece at a time."""
_M_ARENA_MAX, _M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -8, -1, -3
_ARENAS, _KEPT_BYTES, _OWN_BYTES = 2, 6 << 20, 2 << 20
"""Arenas; what each keeps of what was freed; what is so large that it comes from the system and goes back alone."""


class Room:
    """What all transfers of one kind have in memory together: the more there are, the smaller the share of each."""

    def __init__(self, together: int, least: int, most: int) -> None:
        """Bytes: of all, and the least and the most of one."""
        self.transfers = 0
        self._together, self._least, self._most = together, least, most

    @property
    def share(self) -> int:
        """Bytes that one may have now."""
        return min(max(self._together // max(self.transfers, 1), self._least), self._most)


def share_memory() -> None:
    """Lets all threads allocate from two arenas, and keeps 6 MB of what was freed in each; to be called before there
    are threads.

    glibc makes up to eight arenas a core, and each keeps something: with gRPC's threads, a hundred transfers kept 70 MB
    that nobody used. What it gives back the system has to clear before it comes again: for the blocks of a MiB in which
    large vectors are added that took eight times as long as to add them. Elsewhere there is nothing to do.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # another C library has no such options
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_ARENA_MAX, _ARENAS)
            mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
            mallopt(_M_MMAP_THRESHOLD, _OWN_BYTES)
