"""Vectors as files beside the journal: models by their hash, contributions and sums by run, round and seat."""

import hashlib
import shutil
from pathlib import Path

from fedfraud.errors import NotFound
from fedfraud.identity import write_durably
from fedfraud.wire import RoundKey


class Vectors:
    """A folder of vectors. Every write is whole or not there: temporary name, fsync, rename, fsync of the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "models").mkdir(parents=True, exist_ok=True)

    def write_model(self, data: bytes) -> bytes:
        """Stores little-endian float32 bytes; returns their SHA-256."""
        sha256 = hashlib.sha256(data).digest()
        path = self._model(sha256)
        if not path.exists():
            write_durably(path, data)
        return sha256

    def read_model(self, sha256: bytes) -> bytes:
        """The bytes of this hash."""
        path = self._model(sha256)
        if len(sha256) != 32 or not path.exists():  # a stranger's bytes make no file name
            raise NotFound(f"a vector must be a model of this network, got {sha256.hex()[:80] or 'none'}")
        return path.read_bytes()

    def write_contribution(self, key: RoundKey, seat: str, data: bytes) -> None:
        """Stores a contribution, little-endian uint64."""
        self._write(self._round(key) / f"{seat}.u64", data)

    def read_contribution(self, key: RoundKey, seat: str) -> bytes:
        """What `write_contribution` stored."""
        return (self._round(key) / f"{seat}.u64").read_bytes()

    def write_sum(self, key: RoundKey, data: bytes) -> bytes:
        """Stores a committed sum, little-endian uint64; returns its SHA-256."""
        self._write(self._round(key).with_suffix(".sum.u64"), data)
        return hashlib.sha256(data).digest()

    def remove_contributions(self, key: RoundKey) -> None:
        """Forgets the round's contributions; its sum stays."""
        shutil.rmtree(self._round(key), ignore_errors=True)

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, data)

    def _model(self, sha256: bytes) -> Path:
        return self._folder / "models" / f"{sha256.hex()}.f32"

    def _round(self, key: RoundKey) -> Path:
        return self._folder / key.run_id / f"{key.round:05d}-{key.attempt}"
