"""The receipts that a bank holds, and what it knows of the journal that they are from.

A receipt is a line of `receipts.txt`, its message in base64: what has no line's end was being written when the process
was killed, and whatever else is no receipt is damage.
"""

import base64
import binascii
import os
import threading
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.message import DecodeError

from fedfraud.chain import CheckedReceipt, checked_receipt, journal_key
from fedfraud.errors import Invalid, Misconfigured, NotStored, Stale
from fedfraud.identity import sync_folder, write_durably
from fedfraud.logs import Log
from fedfraud.v1 import federation_pb2
from fedfraud.wire import RoundKey

_CERTIFICATE, _EPOCH, _RECEIPTS = "journal.pem", "journal.epoch", "receipts.txt"
_log = Log("bank")


class Receipts:
    """The receipts in a bank's folder, in order; each was checked, and is on disk when `keep` returns."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / _RECEIPTS
        self._keeping = threading.Lock()
        self._key: Ed25519PublicKey | None = None
        self.newest: CheckedReceipt | None = None

    def load(self, ca_pem: bytes) -> None:
        """Finds the newest receipt of former processes; a torn end, of one that was killed, is cut off.

        Misconfigured when the file is damaged: it stays as it is. NotStored when the disk fails.
        """
        if self._key is not None or not (self._folder / _CERTIFICATE).exists():
            return
        key = self._stored_key(ca_pem)
        receipts, torn = self._stored(key)
        if torn:  # that contribution is sent again
            _log.warning("a receipt was half written and is cut off", bytes=torn, path=self._path)
        if self._path.exists():
            self._sync(torn)
        if receipts:
            self.newest = receipts[-1]
        self._key = key

    def _sync(self, torn: int) -> None:
        """Whoever wrote the last one may have been killed before it was on disk; it is not asked for again."""
        try:
            with self._path.open("r+b") as file:
                if torn:
                    file.truncate(self._path.stat().st_size - torn)
                os.fsync(file.fileno())
            sync_folder(self._folder)
        except OSError as error:
            raise NotStored(f"receipts must be on disk, the disk said: {error}") from error

    def trust(self, certificate_pem: bytes, ca_pem: bytes, epoch: int) -> None:
        """Takes the journal's key from a welcome. Refused: one that the CA did not certify for the aggregator, and an
        aggregator that knows of fewer starts than this bank does: its journal was put back to an older state."""
        key, path = journal_key(certificate_pem, ca_pem), self._folder / _EPOCH
        known = int(path.read_text()) if path.exists() else 0
        if epoch < known:
            raise Stale(f"an aggregator's epoch must be at least {known}, which this bank has seen, got {epoch}")
        if epoch > known:
            write_durably(self._folder / _CERTIFICATE, certificate_pem)
            write_durably(path, str(epoch).encode())
        self._key = key

    def keep(self, receipt: federation_pb2.Receipt, key: RoundKey, seat: str, vector_sha256: bytes) -> None:
        """Stores the receipt for a contribution; refused unless it is signed and about that contribution."""
        if self._key is None:
            raise Invalid("a receipt must come after a welcome, got one before")
        checked = checked_receipt(receipt, self._key)
        if (checked.key, checked.seat, checked.vector_sha256) != (key, seat, vector_sha256):
            raise Invalid(f"a receipt must be for {seat}'s contribution to {key}, got one of entry {checked.sequence}")
        with self._keeping:  # the thread of a try that was given up may be at it still
            if self.newest and checked.sequence <= self.newest.sequence:
                return  # the answer to a repeated upload
            self._append(base64.b64encode(receipt.SerializeToString()) + b"\n")
            self.newest = checked

    def _append(self, line: bytes) -> None:
        """When the disk does not take all of it the file is what it was: the next line would be damaged by a part."""
        whole = self._path.stat().st_size if self._path.exists() else 0
        try:
            with self._path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            if not whole:
                sync_folder(self._folder)
        except OSError:
            with suppress(OSError):
                os.truncate(self._path, whole)
            raise

    def read(self, ca_pem: bytes) -> tuple[Ed25519PublicKey, list[CheckedReceipt]]:
        """The journal's key and all receipts, each checked; for `verify`. Misconfigured when the file is damaged."""
        key = self._stored_key(ca_pem)
        return key, self._stored(key)[0]

    def _stored_key(self, ca_pem: bytes) -> Ed25519PublicKey:
        return journal_key((self._folder / _CERTIFICATE).read_bytes(), ca_pem)

    def _stored(self, key: Ed25519PublicKey) -> tuple[list[CheckedReceipt], int]:
        """The receipts, and how many bytes of a torn one come after them."""
        *lines, end = (self._path.read_bytes() if self._path.exists() else b"").split(b"\n")
        if end and _is_whole(end[:-1], key):
            lines, end = [*lines, end], b""  # a receipt that was whole once: its line's end is damaged
        receipts = []
        for number, line in enumerate(lines, 1):
            try:
                receipts.append(_parsed(line, key))
            except Invalid as error:
                raise Misconfigured(
                    f"receipts must be as the aggregator gave them, line {number} of {self._path} is not ({error}); "
                    "nothing was cut off: put the file back from a copy"
                ) from error
        return receipts, len(end)


def _is_whole(line: bytes, key: Ed25519PublicKey) -> bool:
    try:
        _parsed(line, key)
    except Invalid:
        return False
    return True


def _parsed(line: bytes, key: Ed25519PublicKey) -> CheckedReceipt:
    try:
        return checked_receipt(federation_pb2.Receipt.FromString(base64.b64decode(line, validate=True)), key)
    except (binascii.Error, DecodeError) as error:
        raise Invalid("a receipt must be a message in base64, got other bytes") from error
