"""The one contribution that may have to be sent again: on disk before its first byte leaves."""

import os
from pathlib import Path

from fedfraud.errors import Invalid, NotStored
from fedfraud.identity import sync_folder
from fedfraud.logs import Log
from fedfraud.wire import RoundKey
from services.bank_client.release import Released

_FILE = "contribution.bin"


class Outbox:
    """A bank's newest contribution; a later one is written over it, to the same file: whoever is killed meanwhile has
    sent nothing of it, and the former one is of a round that is over."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._kept: tuple[RoundKey, bytes] | None = None
        """What the file is known to hold."""
        self._named = False
        """Whether the file's name is known to be on disk."""

    def keep(self, released: Released) -> None:
        """Durable when it returns; NotStored when the disk is full or fails."""
        self._store(released.key, released.inputs_sha256, released.to_bytes())

    def _store(self, key: RoundKey, inputs_sha256: bytes, data: bytes) -> None:
        self._kept = None
        try:
            self._write(data)
        except OSError as error:
            raise NotStored(f"a contribution must be on disk before it is sent, the disk said: {error}") from error
        self._kept = key, inputs_sha256

    def _write(self, data: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.truncate()
            file.flush()
            os.fsync(descriptor)
        if not self._named:
            sync_folder(self._path.parent)
            self._named = True

    def erase(self) -> None:
        """The round is over."""
        self._kept, self._named = None, False
        self._path.unlink(missing_ok=True)

    def find(self, key: RoundKey, inputs_sha256: bytes) -> Released | None:
        """The contribution to this round from these inputs (Inputs.sha256), if it is the one that was kept.

        What a former process or a failed try left may never have been synced, or a sync of it may have failed: it is
        written anew, the same bytes to the same place. NotStored as of `keep`.
        """
        if self._kept is not None and self._kept != (key, inputs_sha256):
            return None
        try:
            data = self._path.read_bytes()
            kept = Released.from_bytes(data)
        except FileNotFoundError:
            return None
        except (OSError, Invalid) as error:
            Log("bank").warning("kept contribution not readable, made anew", reason=error)
            return None
        if (kept.key, kept.inputs_sha256) != (key, inputs_sha256):
            return None
        if self._kept is None:
            self._store(key, inputs_sha256, data)
        return kept
