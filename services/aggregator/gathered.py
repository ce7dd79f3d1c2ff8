"""A round's small contributions in one file, one behind the other: those that are stored together cost one sync.

Each is a head, the name of the seat and the bytes. What is behind one that counts may be gone; what is before it must
not be, or nobody finds it. What the disk refused is cut off, so that nothing comes behind it, and comes again. What a
process that was killed wrote in part is at the end, is no contribution, and is written over.
"""

import errno
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from fedfraud.identity import make_folder, sync_folder, write_at

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
    """The file while its round is open, written by one thread, and open itself until it is closed: to open it takes as
    long as to write a contribution."""

    def __init__(self, path: Path) -> None:
        """`path` may be a former process's: what is whole in it stays."""
        self._path = path
        self._file: BinaryIO | None = None
        self._places = read(path).places
        self._end = self._synced = _end(self._places.values())
        self._named = False

    def append(self, seat: str, data: bytes | bytearray) -> None:
        """Writes the seat's contribution at the end, or over its former one, which did not count: the journal may fail
        for hours, and the file must not grow with every try. Durable once it is synced."""
        name = seat.encode()
        head = _HEAD.pack(len(name), len(data)) + name
        try:
            file = self._opened()
            if (size := os.fstat(file.fileno()).st_size) < self._end:  # its round was over, and is forgotten
                self._end = self._synced = 0
                self._places, self._named = {}, False
            place = self._places.get(seat)
            if place is None or place.stop - place.start != len(data):
                start = self._end + len(head)
                place = slice(start, start + len(data))
                if size > self._end:
                    file.truncate(self._end)
            write_at(file.fileno(), head, place.start - len(head))
            write_at(file.fileno(), data, place.start)
        except BaseException:
            self._cut(self._end)
            raise
        self._places[seat], self._end = place, max(self._end, place.stop)

    def sync(self) -> None:
        """See Unsynced. When the disk fails, what was not on it yet is written anew: the system takes pages that it
        could not write for written."""
        try:
            if self._file is None or not _is_there(self._file):
                raise FileNotFoundError(errno.ENOENT, "It went before it was on disk", str(self._path))
            os.fsync(self._file.fileno())
            if not self._named:
                sync_folder(self._path.parent)
        except BaseException:
            self._cut(self._synced)
            raise
        self._named, self._synced = True, self._end

    def close(self) -> None:
        """Nothing comes any more, and the disk gets back what was taken away; any thread may say so, once more too."""
        if self._file is not None:
            self._file.close()

    def _opened(self) -> BinaryIO:
        """The file that has the name."""
        if self._file is None or not _is_there(self._file):
            self.close()
            make_folder(self._path.parent)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
            self._file = os.fdopen(descriptor, "wb", buffering=0)
        return self._file

    def _cut(self, end: int) -> None:
        self._places = {seat: place for seat, place in self._places.items() if place.stop <= end}
        self._end = end
        with suppress(OSError):  # it is written over, then
            _cut(self._path, end)
        if not end:
            self.close()  # the room of a file that was taken away comes back with that


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

    def cut_behind(self, seats: Iterable[str]) -> None:
        """Takes away what is behind the last of these seats' contributions."""
        _cut(self.path, _end(self.places[seat] for seat in seats if seat in self.places))


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


def _is_there(file: BinaryIO) -> bool:
    """Whether it is open, and was not taken away."""
    return not file.closed and os.fstat(file.fileno()).st_nlink > 0


def _end(places: Iterable[slice]) -> int:
    return max((place.stop for place in places), default=0)


def _cut(path: Path, end: int) -> None:
    """Gives the disk back what counts for nothing; a file without a contribution goes, its name may not be durable."""
    with suppress(FileNotFoundError):
        os.truncate(path, end) if end else path.unlink()
