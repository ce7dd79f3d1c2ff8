"""The receipts that a bank holds, and what it knows of the journal that they are from."""

import os
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.message import DecodeError
from google.protobuf.proto import parse_length_prefixed, serialize_length_prefixed

from fedfraud.chain import CheckedReceipt, checked_receipt, journal_key
from fedfraud.errors import Invalid, Stale
from fedfraud.identity import sync_folder, write_durably
from fedfraud.v1 import federation_pb2
from fedfraud.wire import RoundKey

_CERTIFICATE, _EPOCH, _RECEIPTS = "journal.pem", "journal.epoch", "receipts.bin"


class Receipts:
    """The receipts in a bank's folder, in order; each was checked, and is on disk when `keep` returns."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / _RECEIPTS
        self._key: Ed25519PublicKey | None = None
        self.newest: CheckedReceipt | None = None

    def load(self, ca_pem: bytes) -> None:
        """Finds the newest receipt of former processes; a torn end, of one that was killed, is cut off."""
        if self._key is not None or not (self._folder / _CERTIFICATE).exists():
            return
        self._key = self._stored_key(ca_pem)
        receipts, whole = _parsed(self._path.read_bytes() if self._path.exists() else b"")
        if receipts:
            self.newest = checked_receipt(receipts[-1], self._key)
        if self._path.exists() and self._path.stat().st_size > whole:  # that contribution is sent again
            with self._path.open("r+b") as file:
                file.truncate(whole)
                os.fsync(file.fileno())

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
        if self.newest and checked.sequence <= self.newest.sequence:
            return  # the answer to a repeated upload
        fresh, line = not self._path.exists(), BytesIO()
        serialize_length_prefixed(receipt, line)
        with self._path.open("ab") as file:
            file.write(line.getvalue())
            file.flush()
            os.fsync(file.fileno())
        if fresh:
            sync_folder(self._folder)
        self.newest = checked

    def read(self, ca_pem: bytes) -> tuple[Ed25519PublicKey, list[CheckedReceipt]]:
        """The journal's key and all receipts, each checked; for `verify`."""
        key = self._stored_key(ca_pem)
        receipts, _ = _parsed(self._path.read_bytes() if self._path.exists() else b"")
        return key, [checked_receipt(receipt, key) for receipt in receipts]

    def _stored_key(self, ca_pem: bytes) -> Ed25519PublicKey:
        return journal_key((self._folder / _CERTIFICATE).read_bytes(), ca_pem)


def _parsed(stored: bytes) -> tuple[list[federation_pb2.Receipt], int]:
    """The whole receipts at the beginning of what is stored, and how many bytes they are."""
    receipts: list[federation_pb2.Receipt] = []
    stream, whole = BytesIO(stored), 0
    with suppress(ValueError, DecodeError):
        while receipt := parse_length_prefixed(federation_pb2.Receipt, stream):
            receipts.append(receipt)
            whole = stream.tell()
    return receipts, whole
