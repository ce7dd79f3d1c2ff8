"""Vectors as files beside the journal: models and counters by their hash; contributions, sums and momenta by run and
round."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO

from fedfraud.errors import NotFound
from fedfraud.fixed_point import Words
from fedfraud.identity import make_folder, sync_folder, write_durably, write_pieces, write_pieces_durably
from fedfraud.packing import Packing
from fedfraud.wire import RoundKey
from services.aggregator import gathered, stored_words
from services.aggregator.averaging import exact_sum
from services.aggregator.gathered import Gathered, Names, Unsynced
from services.aggregator.memory import MEMORY_BYTES
from services.aggregator.spares import Spares

NAME = "vectors"
"""Of the folder in the aggregator's data folder."""
_GATHERED = "gathered"
"""Of the file in a round's folder that has its small contributions."""


class Vectors:
    """A folder of vectors. Every file is whole or not there: temporary name, fsync, rename, fsync of the folder.

    But the one of a round's small contributions grows; what counts in it is whole (gathered.py).
    """

    def __init__(self, folder: Path, *, gather: bool = False) -> None:
        """With `gather` the small contributions of a round are in one file, which serves no longer than the round."""
        self._folder = folder
        self._spares = Spares(folder / "arriving")
        self._gather = gather
        self._open: tuple[Path, Gathered | None] | None = None
        """The folder of the round whose contributions were written last, and their file if they have one."""

    def prepare(self) -> None:
        """Makes the folder, and takes away what a process that was killed had half written."""
        for name in ("models", "counters", "arriving"):
            make_folder(self._folder / name)
        for path in self._folder.rglob(".*"):
            path.unlink()
        for folder in (self._folder, *self._folder.glob("*/")):
            sync_folder(folder)  # it may have been killed with a folder made whose name was not durable yet

    def write_model(self, data: bytes | memoryview) -> bytes:
        """Stores little-endian float32 bytes; returns their SHA-256."""
        return _once(self.model, data)

    def write_counters(self, data: bytes) -> bytes:
        """Stores summed counters, little-endian uint64; returns their SHA-256."""
        return _once(self.counters, data)

    def find(self, sha256: bytes) -> Path:
        """The file of the model or the counters of this hash."""
        if len(sha256) == 32:  # a stranger's bytes make no file name
            for path in (self.model(sha256), self.counters(sha256)):
                if path.exists():
                    return path
        raise NotFound(f"a vector must be a model or counters of this network, got {sha256.hex()[:80] or 'none'}")

    def read_model(self, sha256: bytes) -> bytes:
        """The bytes of the model of this hash."""
        return self.find(sha256).read_bytes()

    def write_contribution(self, key: RoundKey, seat: str, data: bytes | bytearray) -> Unsynced:
        """Stores a contribution: masked ones little-endian uint64, plain ones packed (fedfraud/packing.py). It is
        durable once what it returns is synced."""
        folder = self._round(key)
        if len(data) <= MEMORY_BYTES and (together := self._together(folder)):
            together.append(seat, data)
            return together
        make_folder(folder)
        write_pieces(self.contribution(key, seat), [data])
        return Names(folder)

    def _together(self, folder: Path) -> Gathered | None:
        """A round's contributions are stored in one way, the one in which a former process began."""
        if self._open is None or self._open[0] != folder:
            self._close()
            path = folder / _GATHERED
            gathers = path.exists() or (self._gather and not any(folder.glob("*.u64")))
            self._open = folder, Gathered(path) if gathers else None
        return self._open[1]

    def _close(self, folder: Path | None = None) -> None:
        """The file of the contributions that were written last, if it is in this folder or there is none."""
        last = self._open  # once: the writer may put the next round's in its place
        if last is not None and last[1] is not None and folder in (None, last[0]):
            last[1].close()

    def arriving(self) -> Path:
        """Where a contribution may be written while it arrives: another name each time."""
        return self._spares.path()

    def open_arriving(self, path: Path) -> BinaryIO:
        """The file there, to be written from its start and cut off where the contribution ends."""
        return self._spares.open(path)

    def keep_contribution(self, key: RoundKey, seat: str, arrived: Path) -> Unsynced:
        """Lets a file that is whole and on disk be the seat's contribution, once what it returns is synced."""
        path = self.contribution(key, seat)
        make_folder(path.parent)
        arrived.replace(path)
        return Names(path.parent)

    def contributions(self, key: RoundKey) -> Callable[[str], bytes]:
        """Reads what `write_contribution` has stored until now, by seat."""
        together = gathered.read(self.gathered(key))
        return lambda seat: (
            together.read(seat) if seat in together.places else self.contribution(key, seat).read_bytes()
        )

    def write_sum(self, key: RoundKey, data: bytes) -> bytes:
        """Stores a committed sum, little-endian uint64; returns its SHA-256."""
        self._write(self.sum(key), data)
        return hashlib.sha256(data).digest()

    def added(self, key: RoundKey, seats: Iterable[str], packing: Packing) -> Words:
        """The exact sum of what these seats contributed in a plain round, in memory: for small contributions."""
        return exact_sum(map(packing.unpack, map(self.contributions(key), seats)), packing.word_count)

    def add_up(self, key: RoundKey, seats: Iterable[str], packing: Packing) -> bytes:
        """Stores the same sum of large ones, a piece after the other; returns its SHA-256."""
        sums = stored_words.added([self.contribution(key, seat) for seat in seats], packing)
        return self._write_pieces(self.sum(key), (words.data.cast("B") for words in sums))

    def write_velocity(self, key: RoundKey, pieces: Iterable[memoryview]) -> bytes:
        """Stores the server's momentum after the round, little-endian float64; returns its SHA-256."""
        return self._write_pieces(self.velocity(key), pieces)

    def contribution(self, key: RoundKey, seat: str) -> Path:
        """Where a seat's contribution lies until its retention is over, if it has a file of its own."""
        return self._round(key) / f"{seat}.u64"

    def gathered(self, key: RoundKey) -> Path:
        """Where the round's contributions lie that are in one file."""
        return self._round(key) / _GATHERED

    def sum(self, key: RoundKey) -> Path:
        """Where a round's sum lies."""
        return self._round(key).with_suffix(".sum.u64")

    def velocity(self, key: RoundKey) -> Path:
        """Where the momentum after a round lies."""
        return self._round(key).with_suffix(".velocity.f64")

    def named_by_hash(self) -> Iterator[Path]:
        """The files of all models and counters."""
        yield from self._folder.glob("models/*.f32")
        yield from self._folder.glob("counters/*.u64")

    def remove_but(self, sha256s: set[bytes]) -> None:
        """Forgets every model, and all counters, whose hash is not among these."""
        kept = {path for sha256 in sha256s for path in (self.model(sha256), self.counters(sha256))}
        for path in list(self.named_by_hash()):
            if path not in kept:
                path.unlink()

    def files(self) -> Iterator[Path]:
        """All files, but for what is half written."""
        for folder, _, names in os.walk(self._folder):  # of a folder that goes meanwhile it says nothing
            yield from (Path(folder) / name for name in names if not name.startswith("."))

    def remove_contributions(self, key: RoundKey) -> None:
        """Forgets the round's contributions; its sum stays."""
        self.forget_spares()
        self._close(self._round(key))
        shutil.rmtree(self._round(key), ignore_errors=True)

    def recycle_contributions(self, key: RoundKey) -> None:
        """The same, but that the next round's contributions are written over the files of large ones."""
        folder = self._round(key)
        self._close(folder)
        try:
            with suppress(FileNotFoundError):  # a sweep was faster
                self._spares.fill([path for path in folder.glob("*.u64") if path.stat().st_size > MEMORY_BYTES])
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def forget_spares(self) -> None:
        """No round follows soon that would write over them."""
        self._spares.clear()

    def sweep(self, retention: float, besides: RoundKey | None) -> None:
        """Forgets the contributions of rounds that began `retention` seconds ago and more, but for the open one's."""
        kept = self._round(besides) if besides else None
        for path in self._folder.glob("*/*-*"):
            with suppress(FileNotFoundError):  # another thread takes away a round that has just closed
                if path.is_dir() and path != kept and time.time() - path.stat().st_mtime >= retention:
                    self._close(path)
                    shutil.rmtree(path)

    def let_go(self, paths: Sequence[Path]) -> None:
        """Files on disk that are not read again soon: the memory in which the system holds their bytes is for the next
        files, which otherwise take memory that others need, or that this machine never used before."""
        for path in paths:
            with suppress(OSError, AttributeError), path.open("rb") as file:  # not every system can be told
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def _write_pieces(self, path: Path, pieces: Iterable[memoryview]) -> bytes:
        digest = hashlib.sha256()

        def hashed() -> Generator[memoryview, None, None]:
            for piece in _ahead(pieces):
                digest.update(piece)
                yield piece

        make_folder(path.parent)
        with closing(hashed()) as whole:  # here, not where the disk's error is let go of: that would wait for a block
            write_pieces_durably(path, whole)
        return digest.digest()

    def _write(self, path: Path, data: bytes | bytearray) -> None:
        make_folder(path.parent)
        write_durably(path, data)

    def model(self, sha256: bytes) -> Path:
        """Where the model of this vector hash lies."""
        return self._folder / "models" / f"{sha256.hex()}.f32"

    def counters(self, sha256: bytes) -> Path:
        """Where the counters of this hash lie."""
        return self._folder / "counters" / f"{sha256.hex()}.u64"

    def _round(self, key: RoundKey) -> Path:
        return self._folder / key.run_id / f"{key.round:05d}-{key.attempt}"


def _ahead(pieces: Iterable[memoryview]) -> Iterator[memoryview]:
    """The same pieces; the next one is made by another thread while this one is hashed and written."""
    making = iter(pieces)
    with ThreadPoolExecutor(1, "pieces") as thread:
        coming = thread.submit(next, making, None)
        while (piece := coming.result()) is not None:
            coming = thread.submit(next, making, None)
            yield piece


def _once(place: Callable[[bytes], Path], data: bytes | memoryview) -> bytes:
    """Stores bytes under their SHA-256, unless they are there; returns it."""
    sha256 = hashlib.sha256(data).digest()
    path = place(sha256)
    if path.exists():
        sync_folder(path.parent)  # which may be all that a former try was not granted
    else:
        write_durably(path, data)
    return sha256
