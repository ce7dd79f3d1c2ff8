"""What a bank does for itself once a run is over: no round waits for it, and it gives way to one."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor

from fedfraud.logs import Log

LAST_SECONDS = 3.0
"""What a bank that stops gives it to end: less than whoever stops a process waits before he kills it."""


class OwnWork:
    """One piece of work at a time, in the pool where the bank computes; it goes on when a session ends."""

    def __init__(self, seat: str, pool: Executor | None) -> None:
        self._seat, self._pool, self._log = seat, pool, Log(seat)
        self._task: asyncio.Task[None] | None = None
        self._cancelled = threading.Event()

    def begin(self, run_id: str, work: Callable[[str, Callable[[], bool]], None]) -> None:
        """Begins `work(run_id, cancelled)`, unless other work goes on."""
        if self._task is None or self._task.done():
            self._cancelled = threading.Event()
            self._task = asyncio.create_task(self._done(run_id, work, self._cancelled))

    async def _done(
        self, run_id: str, work: Callable[[str, Callable[[], bool]], None], cancelled: threading.Event
    ) -> None:
        """Whatever comes of it, it costs nobody a round."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._pool, work, run_id, cancelled.is_set)
        except Exception as error:
            if cancelled.is_set():
                self._log.info("own work given up: a round came, or the bank stops", seat=self._seat, run=run_id)
            else:
                self._log.error("own work failed", exc_info=error, seat=self._seat, run=run_id)

    def give_way(self) -> None:
        """A round goes first: what is going on is given up."""
        self._cancelled.set()

    async def finish(self) -> None:
        """The bank stops: what is going on has LAST_SECONDS to end."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=LAST_SECONDS)
        self._cancelled.set()
