"""The one contribution that may have to be sent again: on disk before its first byte leaves."""

from pathlib import Path

from fedfraud.errors import Invalid, NotStored
from fedfraud.identity import write_secret
from fedfraud.logs import Log
from fedfraud.wire import RoundKey
from services.bank_client.release import Released

_FILE = "contribution.bin"


class Outbox:
    """A bank's newest contribution; a later one takes its place."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        for torn in folder.glob(f".{_FILE}.*"):  # of a process that was killed while it wrote: a bank's figures
            torn.unlink()

    def keep(self, released: Released) -> None:
        """Durable when it returns; NotStored when the disk is full or fails."""
        try:
            write_secret(self._path, released.to_bytes())
        except OSError as error:
            raise NotStored(f"a contribution must be on disk before it is sent, the disk said: {error}") from error

    def erase(self) -> None:
        """The round is over."""
        self._path.unlink(missing_ok=True)

    def find(self, key: RoundKey, inputs_sha256: bytes) -> Released | None:
        """The contribution to this round from these inputs (Inputs.sha256), if it is the one that was kept."""
        try:
            kept = Released.from_bytes(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, Invalid) as error:
            Log("bank").warning("kept contribution not readable, made anew", reason=error)
            return None
        return kept if (kept.key, kept.inputs_sha256) == (key, inputs_sha256) else None
