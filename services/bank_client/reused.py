"""Memory for one fetched vector after the other, and none for what failed."""

import weakref
from collections.abc import Coroutine
from traceback import clear_frames
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Reused:
    """Lends the former vector's memory again once nobody has that any more, and other memory while somebody has: the
    system clears fresh memory first, which takes about as long as to fetch what comes into it."""

    def __init__(self) -> None:
        self._block: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._lent: weakref.ref[NDArray[np.uint8]] | None = None

    def lend(self, size: int) -> memoryview:
        """So many bytes, with anything in them; whatever is made of them without a copy keeps them lent."""
        if len(self._block) != size or (self._lent and self._lent() is not None):
            self._block = np.empty(size, np.uint8)
        view = self._block[:]
        self._lent = weakref.ref(view)
        return view.data


async def let_go(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is awaited here alone; where it fails, what its frames hold is let go of.

    An error has its frames, and a frame that waited for a task has that task and so its error: in such a circle each
    try's vectors would live until the collector comes.
    """
    try:
        return await work
    except BaseException as error:
        failed: BaseException | None = error
        while failed is not None:
            clear_frames(failed.__traceback__)
            failed = failed.__context__
        raise
