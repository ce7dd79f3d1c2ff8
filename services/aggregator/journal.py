"""The journal: an append-only, hash-chained list of entries in SQLite, and the one thread that makes things durable."""

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from google.protobuf.message import Message

from fedfraud.errors import Misconfigured, OutOfRange
from fedfraud.v1 import history_pb2

SCHEMA_VERSION = 1
_PAGE = 500
_EVENTS = {
    field.message_type.full_name: field.name
    for field in history_pb2.Entry.DESCRIPTOR.oneofs_by_name["event"].fields
    if field.message_type
}
P = ParamSpec("P")
T = TypeVar("T")


class Writer:
    """One thread: whatever must be on disk before it is acknowledged goes through it, in order."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `work`, done by the writer thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))

    def close(self) -> None:
        """Finishes what was begun."""
        self._thread.shutdown(wait=True)


class Journal:
    """Entries count from 1 without a gap; `append` returns when its entry is on disk."""

    def __init__(self, path: Path, writer: Writer) -> None:
        self._writer = writer
        self._database = _open(path)
        self.head, self._chain = _checked_head(self._database)
        self._stored = self.head
        self._grown = asyncio.Event()
        self._listeners: list[Callable[[history_pb2.Entry], None]] = []

    async def replay(self, listener: Callable[[history_pb2.Entry], None]) -> None:
        """Tells the listener every entry that exists, and from then on each new one as soon as it is on disk."""
        after = 0
        while entries := await self.read(after):
            for entry in entries:
                listener(entry)
            after = entries[-1].sequence
        self._listeners.append(listener)

    async def append(self, event: Message) -> history_pb2.Entry:
        """Stores one event and wakes whoever watches; a caller that goes away meanwhile does not take it back."""
        return await asyncio.shield(self._append(event))

    async def _append(self, event: Message) -> history_pb2.Entry:
        entry = await self._writer.run(self._store, event)
        self.head = max(self.head, entry.sequence)
        for listener in self._listeners:
            listener(entry)
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()
        return entry

    async def read(self, after: int) -> list[history_pb2.Entry]:
        """The next entries after a sequence, a page at most."""
        return await self._writer.run(self._load, after)

    async def watch(self, after: int) -> AsyncGenerator[history_pb2.Entry, None]:
        """All entries after a sequence, then each new one, without end."""
        if not 0 <= after <= self.head:
            raise OutOfRange(f"after_sequence must be 0 to the journal's end, {self.head}, got {after}")
        while True:
            grown = self._grown
            for entry in await self.read(after):
                yield entry
                after = entry.sequence
            if after >= self.head:
                await grown.wait()

    def close(self) -> None:
        """Closes the file; the writer must be closed first."""
        self._database.close()

    def _store(self, event: Message) -> history_pb2.Entry:
        entry = history_pb2.Entry(sequence=self._stored + 1)
        getattr(entry, _EVENTS[event.DESCRIPTOR.full_name]).CopyFrom(event)
        entry.time.GetCurrentTime()
        data = entry.SerializeToString(deterministic=True)
        chain = hashlib.sha256(self._chain + data).digest()
        with self._database:
            self._database.execute("INSERT INTO entries VALUES (?, ?, ?)", (entry.sequence, data, chain))
        self._stored, self._chain = entry.sequence, chain
        return entry

    def _load(self, after: int) -> list[history_pb2.Entry]:
        rows = self._database.execute(
            "SELECT entry FROM entries WHERE sequence > ? ORDER BY sequence LIMIT ?", (after, _PAGE)
        )
        return [history_pb2.Entry.FromString(data) for (data,) in rows]


def _open(path: Path) -> sqlite3.Connection:
    # The connection moves to the writer thread after it was opened; no two threads use it at once.
    database = sqlite3.connect(path, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise Misconfigured(f"the journal's schema version must be {SCHEMA_VERSION}, got {version} in {path}")
    with database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS entries "
            "(sequence INTEGER PRIMARY KEY, entry BLOB NOT NULL, chain BLOB NOT NULL)"
        )
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    return database


def _checked_head(database: sqlite3.Connection) -> tuple[int, bytes]:
    """The last entry's sequence and chain hash, after the whole chain was followed."""
    head, chain = 0, b""
    for sequence, data, stored in database.execute("SELECT * FROM entries ORDER BY sequence"):
        chain = hashlib.sha256(chain + data).digest()
        if sequence != head + 1 or chain != stored:
            raise Misconfigured(f"journal entries must be whole and in order, got a fault at entry {sequence}")
        head = sequence
    return head, chain
