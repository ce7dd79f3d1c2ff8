"""Answers that are made durable side by side, and an end of their round that comes between two of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Arrivals:
    """Answers come side by side, each until it is on disk; a round, or a stage of it, ends when none is under way."""

    def __init__(self, done: Callable[[], None] = lambda: None) -> None:
        """`done` is told when none is under way any more."""
        self.under_way = 0
        self._done = done
        self._let_in, self._all_done = asyncio.Event(), asyncio.Event()
        self._let_in.set()
        self._all_done.set()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """An answer arrives."""
        while not self._let_in.is_set():
            await self._let_in.wait()
        self.under_way += 1
        self._all_done.clear()
        try:
            yield
        finally:
            self.under_way -= 1
            if not self.under_way:
                self._all_done.set()
                self._done()

    @asynccontextmanager
    async def none(self) -> AsyncIterator[None]:
        """No answer is under way, and none comes before this is over; one at a time."""
        self._let_in.clear()
        try:
            await self._all_done.wait()
            yield
        finally:
            self._let_in.set()
