"""The one thread that makes things count, in order, and whether the disk takes what it is given.

Large contributions are written and synced by other threads before that (`beside`): it renames them.
"""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from fedfraud.errors import NotStored
from fedfraud.identity import write_durably
from fedfraud.logs import Log

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_PROBE_BYTES = 1 << 16
_log = Log("aggregator")
P = ParamSpec("P")
T = TypeVar("T")


class Closed(Exception):
    """The process ends: nothing is made durable any more, and the next start makes good for it."""


class Writer:
    """Whatever must be on disk before it is acknowledged goes through it, in order."""

    def __init__(self) -> None:
        self.failure = ""
        """What the last work failed with; empty while the disk takes everything."""
        self.changed = asyncio.Event()
        self._closed = False
        self._thread = ThreadPoolExecutor(1, "writer", initializer=_name_this_thread)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `work`, done by the writer thread; NotStored when the disk fails, Closed at the very end."""
        result = await self.aside(work, *args, **kwargs)
        self._note("")
        return result

    async def aside(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same of what gives the disk nothing to keep, as reading and taking away do: it may well succeed on one
        that takes no data."""
        if self._closed:
            raise Closed("nothing is written any more, the process ends")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))
        except (OSError, sqlite3.Error) as error:
            self._note(str(error))
            raise _not_stored(error) from error

    async def insist(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same, again and again while the disk is full or fails; for as long as it takes.

        For what nobody can be asked to send again; `work` must be one that may be repeated.
        """
        return await persist(lambda: self.run(work, *args, **kwargs))

    async def beside(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `work`, done by another thread: for large pieces that need no order yet. Errors as of `run`."""
        if self._closed:
            raise Closed("nothing is written any more, the process ends")
        try:
            return await asyncio.to_thread(work, *args, **kwargs)
        except OSError as error:
            self._note(str(error))
            raise _not_stored(error) from error

    async def probe(self, folder: Path, give_back: Callable[[], object], also: Callable[[], object]) -> None:
        """While the disk fails, tries it until it takes something again; then waits for the next failure. Endless.

        Before each try `give_back` takes away what nobody needs. It is tried with a file in the folder and with `also`:
        one may fail where the other does not.
        """
        while True:
            while not self.failure:
                await self.changed.wait()
            await asyncio.sleep(_LONGEST_PAUSE / 2)
            with contextlib.suppress(NotStored):
                await self.run(_try, folder / "probe", give_back, also)

    def close(self) -> None:
        """Finishes what was begun."""
        self._closed = True
        self._thread.shutdown(wait=True)

    def _note(self, failure: str) -> None:
        if bool(failure) == bool(self.failure):
            return
        self.failure = failure
        if failure:
            _log.error("disk fails: nothing is acknowledged until it takes data again", reason=failure)
        else:
            _log.info("disk takes data again")
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


async def persist(attempt: Callable[[], Awaitable[T]]) -> T:
    """Tries it until the disk takes it, with pauses."""
    pause = _FIRST_PAUSE
    while True:
        with contextlib.suppress(NotStored):
            return await attempt()
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _not_stored(error: Exception) -> NotStored:
    return NotStored(f"what arrives must be made durable, the disk said: {error}; try again")


def _name_this_thread() -> None:
    """So that tools that list threads show which one writes (Linux)."""
    with contextlib.suppress(OSError):
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text("writer")


def _try(path: Path, give_back: Callable[[], object], also: Callable[[], object]) -> None:
    give_back()
    try:
        write_durably(path, bytes(_PROBE_BYTES))
        also()
    finally:
        path.unlink(missing_ok=True)
