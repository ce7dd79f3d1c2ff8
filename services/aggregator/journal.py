"""The journal: an append-only list of entries in SQLite, hash-chained and signed, each on disk before it is told."""

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message

from fedfraud.chain import next_head, sign
from fedfraud.errors import OutOfRange
from fedfraud.v1 import federation_pb2, history_pb2
from services.aggregator import journal_file
from services.aggregator.gathered import Unsynced
from services.aggregator.writer import Writer, persist

_PAGE = 500
_RECENT = 64
"""Entries kept in memory for those who watch and have all but the newest."""
_TOGETHER, _TOGETHER_SECONDS = 64, 0.25
"""Entries stored in one go, and after how long no further file is made before what has its own is stored: other entries
and the receipts wait for that."""
_GATHER_SECONDS = 0.25
"""How long they wait for more after what they were told last, unless a run has ended: nobody who looks sees that it is
later, and a round of a tenth of a second would be told in pieces while its banks need the cores."""
_EVENTS = {
    field.message_type.full_name: field.name
    for field in history_pb2.Entry.DESCRIPTOR.oneofs_by_name["event"].fields
    if field.message_type
}


@dataclass(frozen=True)
class _Queued:
    """An event on its way to the disk, by its field in an entry, and who waits for that."""

    field: str
    event: Message
    before: Callable[[], Unsynced] | None
    stored: "asyncio.Future[Stored]"


@dataclass(frozen=True)
class Stored:
    """An entry that is on disk, and its receipt."""

    entry: history_pb2.Entry
    receipt: federation_pb2.Receipt


class Journal:
    """Entries count from 1 without a gap; `append` returns when its entry is on disk."""

    def __init__(self, path: Path, writer: Writer, key: Ed25519PrivateKey, *, begun: bool = False) -> None:
        """`begun`: there was a journal at this path before, and an empty one is not to take its place."""
        self._writer = writer
        self._key = key
        self._database, self._tail = journal_file.open_file(path, key, begun=begun)
        self.head = self._tail[0]
        self._queue: deque[_Queued] = deque()
        self._storing: asyncio.Task[None] | None = None
        self._recent: deque[Stored] = deque(maxlen=_RECENT)
        self._grown, self._run_ended = asyncio.Event(), asyncio.Event()
        self._listeners: list[Callable[[history_pb2.Entry], None]] = []

    @property
    def tail(self) -> tuple[int, bytes]:
        """The newest entry on disk and the chain's head after it, together, from any thread."""
        return self._tail

    async def replay(self, listener: Callable[[history_pb2.Entry], None]) -> None:
        """Tells the listener every entry that exists, and from then on each new one as soon as it is on disk."""
        await self.tell(listener)
        self._listeners.append(listener)

    async def tell(self, listener: Callable[[history_pb2.Entry], None]) -> None:
        """Tells the listener every entry that exists."""
        after = 0
        while entries := await self.read(after):
            for entry in entries:
                listener(entry)
            after = entries[-1].sequence

    async def append(self, event: Message) -> history_pb2.Entry:
        """Stores one event and wakes whoever watches; a caller that goes away meanwhile does not take it back.

        NotStored when the disk is full or fails: the journal is as it was.
        """
        return (await asyncio.shield(self._append(event))).entry

    async def append_with(self, before: Callable[[], Unsynced], event: Message) -> Stored:
        """The same of an entry that is about something in a file: `before` writes it. The writer thread calls that, and
        syncs what it returns, before it stores the entry."""
        return await asyncio.shield(self._append(event, before))

    async def insist(self, event: Message) -> history_pb2.Entry:
        """The same for what nobody can be asked to send again: tried until the disk takes it."""
        return (await asyncio.shield(persist(lambda: self._append(event)))).entry

    async def _append(self, event: Message, before: Callable[[], Unsynced] | None = None) -> Stored:
        field = _EVENTS[event.DESCRIPTOR.full_name]
        queued = _Queued(field, event, before, asyncio.get_running_loop().create_future())
        self._queue.append(queued)
        if self._storing is None or self._storing.done():
            self._storing = asyncio.create_task(self._store_queue())
        return await queued.stored

    async def _store_queue(self) -> None:
        """Stores what waits: what comes at once costs one sync of the disk. When that fails, each caller hears it."""
        while self._queue:
            batch: list[_Queued] = []
            try:
                stored = await self._writer.run(self._store, batch)
            except Exception as error:
                failed = batch or [self._queue.popleft()]  # the writer is closed: it took none
                for queued in failed:
                    _settle(queued.stored, error)
                continue
            self._tell(batch, stored)

    def _tell(self, batch: list[_Queued], stored: list[Stored]) -> None:
        self.head = stored[-1].entry.sequence
        self._recent.extend(stored)
        for queued, one in zip(batch, stored, strict=True):
            outcome: Stored | Exception = one
            try:
                for listener in self._listeners:
                    listener(one.entry)
            except Exception as error:  # its caller hears it, and the others go on
                outcome = error
            _settle(queued.stored, outcome)
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()
        if any(one.entry.HasField("run_finished") for one in stored):
            run_ended, self._run_ended = self._run_ended, asyncio.Event()
            run_ended.set()

    async def read(self, after: int) -> list[history_pb2.Entry]:
        """The next entries after a sequence, a page at most."""
        return await self._writer.aside(self._load, after)

    async def receipt(self, sequence: int) -> federation_pb2.Receipt:
        """The signed line of an entry, as its bank gets it."""
        for stored in self._recent:
            if stored.entry.sequence == sequence:
                return stored.receipt
        return await self._writer.aside(self._receipt, sequence)

    async def holds(self, sequence: int, head: bytes) -> bool:
        """Whether this journal had this head after that entry: a bank's receipt says that it had."""
        return bool(head) and await self._writer.aside(self._head_after, sequence) == head

    async def watch(self, after: int) -> AsyncGenerator[list[history_pb2.Entry], None]:
        """All entries after a sequence, then the new ones, a page at most at a time, without end."""
        if not 0 <= after <= self.head:
            raise OutOfRange(f"after_sequence must be 0 to the journal's end, {self.head}, got {after}")
        told = -math.inf
        while True:
            grown, run_ended = self._grown, self._run_ended
            if entries := await self._after(after):
                yield entries
                after, told = entries[-1].sequence, time.monotonic()
            if after >= self.head:
                await grown.wait()
                if (rest := told + _GATHER_SECONDS - time.monotonic()) > 0:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(rest):
                            await run_ended.wait()

    async def _after(self, sequence: int) -> list[history_pb2.Entry]:
        """The next entries, from memory where that has them all."""
        if sequence >= self.head - len(self._recent):
            return [stored.entry for stored in self._recent if stored.entry.sequence > sequence]
        return await self.read(sequence)

    def write_again(self) -> None:
        """Writes what the file has already, on the writer thread: fails as an entry would."""
        self._database.execute(f"PRAGMA user_version = {journal_file.SCHEMA_VERSION}")

    def close(self) -> None:
        """Closes the file; the writer must be closed first."""
        self._database.close()

    def _store(self, batch: list[_Queued]) -> list[Stored]:
        """Takes what waits into `batch`, _TOGETHER at most, and stores it, in order, in one transaction; with the files
        before it, as many as are made in a moment."""
        written, until = set[Unsynced](), time.monotonic() + _TOGETHER_SECONDS
        # Only this thread takes from the queue; others add to its end.
        while self._queue and len(batch) < _TOGETHER and (not batch or time.monotonic() < until):
            batch.append(queued := self._queue.popleft())
            if queued.before:
                try:
                    written.add(queued.before())
                except Exception:
                    if len(batch) == 1:
                        raise
                    self._queue.appendleft(batch.pop())  # it fails alone, once more: the others are none of it
                    break
        for unsynced in written:
            unsynced.sync()
        (sequence, head), stored, lines = self._tail, [], []
        for queued in batch:
            sequence += 1
            entry = history_pb2.Entry(sequence=sequence)
            getattr(entry, queued.field).CopyFrom(queued.event)
            entry.time.GetCurrentTime()
            data, previous = entry.SerializeToString(deterministic=True), head
            head = next_head(previous, data)
            signature = sign(self._key, head)
            lines.append((sequence, data, head, signature))
            stored.append(
                Stored(entry, federation_pb2.Receipt(entry=data, previous_head=previous, signature=signature))
            )
        with self._database:
            self._database.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", lines)
        self._tail = sequence, head
        return stored

    def _load(self, after: int) -> list[history_pb2.Entry]:
        rows = self._database.execute(
            "SELECT entry FROM entries WHERE sequence > ? ORDER BY sequence LIMIT ?", (after, _PAGE)
        )
        return [history_pb2.Entry.FromString(data) for (data,) in rows]

    def _receipt(self, sequence: int) -> federation_pb2.Receipt:
        row = self._database.execute("SELECT entry, signature FROM entries WHERE sequence = ?", (sequence,)).fetchone()
        return federation_pb2.Receipt(entry=row[0], previous_head=self._head_after(sequence - 1), signature=row[1])

    def _head_after(self, sequence: int) -> bytes:
        row = self._database.execute("SELECT head FROM entries WHERE sequence = ?", (sequence,)).fetchone()
        return bytes(row[0]) if row else b""


def _settle(future: asyncio.Future[Stored], outcome: Stored | Exception) -> None:
    """Tells who waits, unless the process ends and it waits no more."""
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
