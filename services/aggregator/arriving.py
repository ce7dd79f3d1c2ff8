"""The bytes of one contribution on their way in: hashed as they come, small ones in memory, large ones in a file."""

import asyncio
import hashlib
import os
import threading
from contextlib import suppress
from typing import BinaryIO, Protocol

from fedfraud import fixed_point
from fedfraud.chunks import Part
from fedfraud.fixed_point import Words
from fedfraud.packing import Packing
from fedfraud.wire import RoundKey
from services.aggregator import stored_words
from services.aggregator.gathered import Unsynced
from services.aggregator.memory import Room
from services.aggregator.stored_words import Extremes
from services.aggregator.vectors import Vectors
from services.aggregator.writer import Writer

_WAITING_BYTES, _LEAST_WRITE_BYTES, _MOST_WRITE_BYTES = 8 << 20, 1 << 16, 1 << 18
_CHUNK_BYTES = 1 << 9
"""What a chunk that waits takes besides its bytes; a caller may send chunks of one byte."""


def room() -> Room:
    """For what of all large contributions together waits until it is written."""
    return Room(_WAITING_BYTES, _LEAST_WRITE_BYTES, _MOST_WRITE_BYTES)


class Arriving(Protocol):
    """Of a contribution that announced `size` bytes, `received` are here."""

    size: int
    received: int

    async def take(self, chunk: Part) -> None:
        """The next bytes."""

    async def end(self) -> bytes:
        """All are here: the SHA-256 of what came."""

    async def check(self, packing: Packing) -> None:
        """Holds a plain one to the length and the bounds of every segment."""

    def keep(self, vectors: Vectors, key: RoundKey, seat: str) -> Unsynced:
        """Makes them the seat's contribution, durable once what it returns is synced."""

    def drop(self) -> None:
        """Nobody needs them any more but as the seat's contribution, if they were kept."""


class InMemory:
    """A small contribution, or a masked one, which is added in memory."""

    def __init__(self, size: int) -> None:
        self.size, self.received = size, 0
        self.data = bytearray()

    async def take(self, chunk: Part) -> None:
        """See Arriving."""
        self.data += chunk
        self.received += len(chunk)

    async def end(self) -> bytes:
        """See Arriving."""
        return hashlib.sha256(self.data).digest()

    async def check(self, packing: Packing) -> None:
        """See Arriving; a small one is looked at here: it takes less than to ask another thread."""
        packing.layout.check(packing.unpack(self.data))

    def keep(self, vectors: Vectors, key: RoundKey, seat: str) -> Unsynced:
        """See Arriving."""
        return vectors.write_contribution(key, seat, self.data)

    def drop(self) -> None:
        """See Arriving."""

    @property
    def words(self) -> Words:
        """All of them, of a masked one."""
        return fixed_point.from_bytes(self.data)


class InFile:
    """A large one: no more of it is in memory than its room and a chunk."""

    def __init__(self, size: int, vectors: Vectors, writer: Writer, room: Room, head_bytes: int) -> None:
        """`room` is that of all of them; so many bytes come before the first coordinate."""
        self.size, self.received = size, 0
        self._vectors, self._writer, self._room = vectors, writer, room
        self._path = vectors.arriving()
        room.transfers += 1
        self._file: BinaryIO | None = None
        self._digest, self._extremes = hashlib.sha256(), Extremes(head_bytes)
        self._waiting: list[Part] = []
        self._waiting_bytes = 0
        self._lock, self._dropped = threading.Lock(), False

    async def take(self, chunk: Part) -> None:
        """See Arriving; returns when memory has room for the next one."""
        self._waiting.append(chunk)
        self._waiting_bytes += len(chunk) + _CHUNK_BYTES
        self.received += len(chunk)
        if self._waiting_bytes >= self._room.share:
            await self._writer.beside(self._write, self._taken())

    async def end(self) -> bytes:
        """See Arriving; all of it is on disk then, under a name that does not count."""
        await self._writer.beside(self._finish, self._taken())
        return self._digest.digest()

    async def check(self, packing: Packing) -> None:
        """See Arriving."""
        await asyncio.to_thread(stored_words.check, self._path, packing, self._extremes)

    def keep(self, vectors: Vectors, key: RoundKey, seat: str) -> Unsynced:
        """See Arriving."""
        return vectors.keep_contribution(key, seat, self._path)

    def drop(self) -> None:
        """See Arriving; a thread may still write, and is not waited for."""
        self._room.transfers -= 1
        self._taken()
        asyncio.get_running_loop().run_in_executor(None, self._drop)

    def _taken(self) -> list[Part]:
        taken, self._waiting, self._waiting_bytes = self._waiting, [], 0
        return taken

    def _write(self, chunks: list[Part]) -> None:
        with self._lock:
            if self._dropped:
                return
            if self._file is None:
                self._file = self._vectors.open_arriving(self._path)
            for chunk in chunks:
                self._digest.update(chunk)
                self._extremes.take(chunk)
                self._file.write(chunk)

    def _finish(self, chunks: list[Part]) -> None:
        self._write(chunks)
        with self._lock:
            if self._file is not None and not self._dropped:
                self._file.truncate()  # it may have been a longer one
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()

    def _drop(self) -> None:
        with self._lock:
            self._dropped = True
            if self._file is not None:
                with suppress(OSError):  # a full disk says again what it did not take
                    self._file.close()
                self._path.unlink(missing_ok=True)
