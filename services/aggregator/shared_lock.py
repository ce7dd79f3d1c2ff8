"""A readers-writer lock for coroutines: answers hold it side by side, the end of their round holds it alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class SharedLock:
    """Answers come side by side, each until it is on disk; a round, or a stage of it, ends when none is under way."""

    def __init__(self, done: Callable[[], None] = lambda: None) -> None:
        """`done` is told when nobody shares it any more."""
        self.holders = 0
        self._done = done
        self._let_in, self._all_done = asyncio.Event(), asyncio.Event()
        self._let_in.set()
        self._all_done.set()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """An answer arrives."""
        while not self._let_in.is_set():
            await self._let_in.wait()
        self.holders += 1
        self._all_done.clear()
        try:
            yield
        finally:
            self.holders -= 1
            if not self.holders:
                self._all_done.set()
                self._done()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """No answer is under way, and none comes before this is over. Its callers come one at a time by themselves: it
        does not keep one from another."""
        self._let_in.clear()
        try:
            await self._all_done.wait()
            yield
        finally:
            self._let_in.set()
