"""A round's small contributions in one file, one behind the other: those that are stored together cost one sync.

Each is a head, the name of the seat and the bytes. Of one seat the last counts: what a full disk refused comes
again. What a process that was killed wrote in part is at the end, is no contribution, and is written over.
"""

import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from fedfraud.identity import sync_folder

_HEAD = struct.Struct("<HI")
"""How many bytes the seat's name has, and how many the contribution."""


class Unsynced(Protocol):
    """What is written and not durable yet."""

    def sync(self) -> None:
        """Makes it durable."""


@dataclass(frozen=True)
class Names:
    """The names in a folder, of files that are on disk themselves."""

    folder: Path

    def sync(self) -> None:
        """See Unsynced."""
        sync_folder(self.folder)


class Gathered:
    """The file while its round is open, written by one thread."""

    def __init__(self, path: Path) -> None:
        """`path`, in a folder that is there, may be a former process's: what is whole in it stays."""
        self._path = path
        self._end = self._synced = max((place.stop for place in read(path).places.values()), default=0)
        self._named = False

    def append(self, seat: str, data: bytes | bytearray) -> None:
        """Writes the seat's contribution at the end; durable once it is synced."""
        name = seat.encode()
        with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644), "wb", buffering=0) as file:
            if os.fstat(file.fileno()).st_size < self._end:  # its round was over, and is forgotten
                self._end = self._synced = 0
                self._named = False
            file.seek(self._end)
            file.truncate()
            _write(file, _HEAD.pack(len(name), len(data)) + name)
            _write(file, data)
            self._end = file.tell()

    def sync(self) -> None:
        """See Unsynced. When the disk fails, what was not on it yet is written anew: the system takes pages that it
        could not write for written."""
        try:
            with self._path.open("rb") as file:
                os.fsync(file.fileno())
            if not self._named:
                sync_folder(self._path.parent)
        except BaseException:
            self._end = self._synced
            raise
        self._named, self._synced = True, self._end


@dataclass(frozen=True)
class Reader:
    """What is whole in such a file."""

    path: Path
    places: dict[str, slice]
    """Of each seat's contribution, in bytes."""

    def read(self, seat: str) -> bytes:
        """The seat's contribution; OSError where there is none, as of a file that is gone."""
        if (place := self.places.get(seat)) is None:
            raise FileNotFoundError(errno.ENOENT, f"No contribution of {seat}", str(self.path))
        with self.path.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), place.stop - place.start, place.start)


def read(path: Path) -> Reader:
    """What the file has, which is nothing where there is none."""
    try:
        with path.open("rb") as file:
            return Reader(path, dict(_places(file)))
    except FileNotFoundError:
        return Reader(path, {})


def _places(file: BinaryIO) -> Iterator[tuple[str, slice]]:
    size = os.fstat(file.fileno()).st_size
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        name_bytes, data_bytes = _HEAD.unpack(head)
        name = file.read(name_bytes)
        start = file.tell()
        if not name or not name.isascii() or start + data_bytes > size:
            return
        yield name.decode(), slice(start, start + data_bytes)
        file.seek(data_bytes, os.SEEK_CUR)


def _write(file: BinaryIO, data: bytes | bytearray) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
