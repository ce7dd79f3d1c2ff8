"""What keeps the process's memory from growing with the number of its transfers."""

import ctypes
import sys
from contextlib import suppress

_M_ARENA_MAX, _ARENAS = -8, 2


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


def share_arenas() -> None:
    """Lets all threads allocate from two arenas; to be called before there are threads.

    glibc makes up to eight a core, and each keeps what was freed in it: with gRPC's threads, a hundred transfers kept
    70 MB that nobody used. Elsewhere there is nothing to do.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # another C library has no such option
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
