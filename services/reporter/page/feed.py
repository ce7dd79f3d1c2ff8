"""What the page shows now, and a stream of what changes: fed by the journal, read by any number of browsers."""

import asyncio
import time
from collections.abc import AsyncIterator
from secrets import token_hex

from services.reporter.fold import Facts
from services.reporter.page import view
from services.reporter.page.archive import Archive, Beside

PAUSE = 0.2
"""Seconds between two updates at least: what the journal says in between goes out together."""
SHARE = 5
"""An update waits for so many times the time that it takes to draw, so that drawing takes a small share of a core."""
HEARTBEAT = 10.0
"""Seconds after which a stream says that it lives."""


class Feed:
    """Follows the fold of the journal and draws the page's sections, once for everybody."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._facts: Facts | None = None
        self._connected = False
        self._closed = False
        self._boot, self._count = token_hex(4), 0
        self._changed = asyncio.Event()
        self._drawn: tuple[int, dict[str, str]] = (-1, {})
        self._drawing_seconds = 0.0

    def take(self, facts: Facts) -> None:
        """The journal has another entry, and `facts` has taken it."""
        self._facts = facts
        self._change()

    async def set_connected(self, connected: bool) -> None:
        """Whether the journal's stream is up."""
        if connected != self._connected:
            self._connected = connected
            self._change()

    def refresh(self) -> None:
        """Something outside the journal has changed: a report was written."""
        self._change()

    def close(self) -> None:
        """Ends every stream."""
        self._closed = True
        self._change()

    @property
    def version(self) -> str:
        """Names what is shown now."""
        return f"{self._boot}-{self._count}"

    def shown(self) -> view.Shown:
        """The state of things."""
        facts = self._facts
        run = facts.completed() if facts else None
        return view.Shown(
            connected=self._connected,
            run=run,
            seats=dict(facts.seats) if facts else {},
            events=list(facts.events) if facts else [],
            earlier=self._archive.runs(),
            beside=self._archive.beside(run.run.id) if run and run.run.outcome else Beside(),
        )

    def sections(self) -> dict[str, str]:
        """Every section's HTML, and the title; drawn when something has changed since."""
        if self._drawn[0] != self._count:
            began = time.monotonic()
            self._drawn = self._count, view.sections(self.shown())
            self._drawing_seconds = time.monotonic() - began
        return self._drawn[1]

    async def updates(self, seen: str) -> AsyncIterator[tuple[str, dict[str, str]]]:
        """The version and the sections that differ from what this reader has, `seen` first; an empty one is a sign of
        life."""
        sent = dict(self.sections()) if seen == self.version else {}
        while not self._closed:
            version, sections = self.version, self.sections()
            changed = {name: html for name, html in sections.items() if sent.get(name) != html}
            sent |= changed
            yield version, changed
            await self._next(version)
            await asyncio.sleep(max(PAUSE, SHARE * self._drawing_seconds))

    async def _next(self, version: str) -> None:
        try:
            async with asyncio.timeout(HEARTBEAT):
                while self.version == version and not self._closed:
                    await self._changed.wait()
        except TimeoutError:
            return

    def _change(self) -> None:
        self._count += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
