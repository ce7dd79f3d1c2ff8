"""Vectors on their way out: a piece of a file at a time, read and written as a message once for all who fetch it at
about the same time."""

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO

from fedfraud.channel import CHUNK_BYTES
from fedfraud.chunks import Part, write_piece
from services.aggregator.memory import Room

_TOGETHER_BYTES, _LEAST_BYTES = 8 << 20, 1 << 14
"""Of pieces: what all transfers have in hand together, and the least of one."""
_KEPT_BYTES = 12 << 20
"""Of messages, for those who come to the same piece later: banks that ask together are seldom further apart."""
_AT_ONCE = getattr(os, "RWF_NOWAIT", 0)  # Linux

Piece = tuple[Path, int, int]
"""A file, the offset in it, and how many bytes."""


class Pieces:
    """What vectors' files are sent in. Banks ask for a round's model all at once: to read and copy each piece for each
    of them costs as much as to encrypt it."""

    def __init__(self) -> None:
        self._room = Room(_TOGETHER_BYTES, _LEAST_BYTES, CHUNK_BYTES)
        self._place = memoryview(bytearray(CHUNK_BYTES))
        self._kept: dict[Piece, bytes] = {}
        self._kept_bytes = 0

    async def messages(self, path: Path) -> AsyncGenerator[bytes]:
        """All of the file, as GetVectorResponses that are written already."""
        self._room.transfers += 1
        try:
            with await asyncio.to_thread(path.open, "rb", buffering=0) as file:
                size, offset = os.fstat(file.fileno()).st_size, 0
                while offset < size:
                    share = self._room.share  # it changes as others come: from its next multiple on pieces are theirs
                    count = min(share - offset % share, size - offset)
                    yield await self._message(file, (path, offset, count))
                    offset += count
        finally:
            self._room.transfers -= 1
            if not self._room.transfers:
                self._kept.clear()
                self._kept_bytes = 0

    async def _message(self, file: BinaryIO, piece: Piece) -> bytes:
        if piece in self._kept:
            return self._kept[piece]
        _, offset, count = piece
        part = self._in_memory(file, offset, count) or await asyncio.to_thread(_read, file, offset, count)
        message = write_piece(part)
        if piece not in self._kept:  # another may have read it meanwhile
            self._kept[piece] = message
            self._kept_bytes += count
            while self._kept_bytes > _KEPT_BYTES:
                _, _, former = oldest = next(iter(self._kept))
                del self._kept[oldest]
                self._kept_bytes -= former
        return message

    def _in_memory(self, file: BinaryIO, offset: int, count: int) -> Part:
        """A part of the file, until the next one is read, where the system has it in memory, as it mostly has a model
        that banks ask for: another thread is needed for what waits for the disk alone. Nothing where it has not."""
        if not _AT_ONCE:
            return b""
        place = self._place[:count]
        try:
            return place if os.preadv(file.fileno(), [place], offset, _AT_ONCE) == count else b""
        except OSError:  # it is not in memory, or the file system cannot tell
            return b""


def _read(file: BinaryIO, offset: int, count: int) -> bytes:
    """The same, whatever it waits for."""
    part = os.pread(file.fileno(), count, offset)
    if len(part) != count:
        raise EOFError(f"a vector's file must stay as long as it is, {file.name} ends at {offset + len(part)}")
    return part
