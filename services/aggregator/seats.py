"""The seats and their certificates, as the journal's entries tell them: who may speak, and under which lease.

State only changes by `apply`, so a restart that applies the journal again stands where the former process stood.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fedfraud.errors import Fenced, Forbidden, NotFound, Stale, TooLarge, Unauthenticated
from fedfraud.identity import Credential, Identity, Role, seat_name
from fedfraud.v1 import history_pb2
from fedfraud.wire import role_from_proto

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass
class SeatRecord:
    """One seat: a bank's enrolled identity, never given to another."""

    name: str
    slot: int
    signing_key: bytes = b""
    public_keys: set[bytes] = field(default_factory=set)
    expiry: datetime = _NEVER
    fencing_number: int = 0
    present: bool = False
    lapsed: bool = False
    revoked: bool = False


class Seats:
    """All seats, and every certificate that counts now."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.records: dict[str, SeatRecord] = {}
        self.lock = asyncio.Lock()
        """Held while something about seats is decided and journalled, so that no two decisions rest on one state."""
        self._certificates: dict[bytes, tuple[Identity, datetime]] = {}
        self._revoked: dict[bytes, str] = {}
        self._now = now
        self._changed = asyncio.Event()

    def apply(self, entry: history_pb2.Entry) -> None:
        """Takes one journal entry into account; entries of other kinds change nothing here."""
        match entry.WhichOneof("event"):
            case "certificate_issued":
                self._issued(entry.certificate_issued)
            case "certificate_revoked":
                self._end(entry.certificate_revoked)
            case "seat_lapsed" if not self.records[entry.seat_lapsed.seat].present:  # a lease may have come first
                self.records[entry.seat_lapsed.seat].lapsed = True
            case "lease_granted":
                self._leased(entry.lease_granted)
            case "seat_absent":
                record = self.records[entry.seat_absent.seat]
                if record.fencing_number == entry.seat_absent.fencing_number:
                    record.present = False

    def check(self, credential: Credential) -> Identity:
        """The caller's identity, if its certificate is one that counts at this moment."""
        if credential.fingerprint in self._revoked:
            raise Unauthenticated(
                f"a certificate must not be revoked: {credential.identity}'s {credential.fingerprint.hex()[:12]} was "
                f"({self._revoked[credential.fingerprint]})"
            )
        if self._now() >= credential.expiry:
            raise Unauthenticated(
                f"a certificate must not be expired: {credential.identity}'s ended "
                f"{credential.expiry:%Y-%m-%d %H:%M:%S} UTC"
            )
        known = self._certificates.get(credential.fingerprint)
        if known is None:
            raise Unauthenticated(
                f"a certificate must be one that this federation issued, got {credential.fingerprint.hex()[:12]}"
            )
        if known[0].role is Role.BANK and self.records[known[0].seat].revoked:
            # It was being issued while the seat was revoked.
            raise Unauthenticated(f"a seat must not be revoked, {known[0].seat} is")
        return known[0]

    def has_certificate(self, role: Role) -> bool:
        """Whether anybody holds a certificate of this role that counts."""
        now = self._now()
        return any(who.role is role and now < expiry for who, expiry in self._certificates.values())

    async def until_invalid(self, credential: Credential) -> Unauthenticated:
        """Waits until `check` refuses the credential, and says why."""
        while True:
            changed = self._changed
            try:
                self.check(credential)
            except Unauthenticated as reason:
                return reason
            left = (credential.expiry - self._now()).total_seconds()
            try:
                async with asyncio.timeout(min(max(left, 0.01), 3600)):
                    await changed.wait()
            except TimeoutError:
                continue

    def check_lease(self, seat: str, fencing_number: int) -> None:
        """Refuses a lease that is not the seat's newest."""
        newest = self.records[seat].fencing_number
        if fencing_number != newest:
            raise Fenced(f"a lease must be the newest of {seat}, number {newest}, got {fencing_number}")

    def check_slot(self, seat: str) -> None:
        """Refuses a lapsed seat whose slot was given to another: its rows would count twice."""
        record = self.records[seat]
        if not record.lapsed:
            return
        for other in self.records.values():
            living = not (other.lapsed or other.revoked)
            if living and other.slot == record.slot != 0:
                raise Stale(f"a slot belongs to one living seat: {seat} lapsed and {other.name} has its slot now")

    def seat_of_key(self, public_key_sha256: bytes) -> SeatRecord | None:
        """The seat that this key was certified for, if any; a revoked seat's key is refused."""
        for record in self.records.values():
            if public_key_sha256 in record.public_keys:
                if record.revoked:
                    raise Forbidden(f"a seat must not be revoked, {record.name} is")
                return record
        return None

    def next_seat(self, limit: int, *, simulated: bool) -> tuple[str, int]:
        """The next free seat and, when simulated, the lowest slot without a living seat (else 0)."""
        if len(self.records) >= limit:
            raise TooLarge(f"seats must be at most {limit}, all are taken")
        taken = {record.slot for record in self.records.values() if not (record.lapsed or record.revoked)}
        slot = next(slot for slot in range(1, limit + 2) if slot not in taken) if simulated else 0
        return seat_name(len(self.records) + 1), slot

    def signing_keys(self, size: int | None = None) -> dict[str, bytes]:
        """The signing key of each seat, of the first `size` that enrolled if that is given."""
        records = list(self.records.values())[:size]
        return {record.name: record.signing_key for record in records}

    def record(self, seat: str) -> SeatRecord:
        """The seat of that name."""
        if seat not in self.records:
            raise NotFound(f"a seat must be enrolled, got {seat[:40]!r}")
        return self.records[seat]

    def _issued(self, event: history_pb2.CertificateIssued) -> None:
        identity = Identity(role_from_proto(event.role), event.seat)
        expiry = event.expiry_time.ToDatetime(UTC)
        now = self._now()
        self._certificates = {f: known for f, known in self._certificates.items() if known[1] > now}
        self._certificates[event.fingerprint] = identity, expiry
        if identity.role is Role.BANK:
            record = self.records.setdefault(event.seat, SeatRecord(event.seat, event.slot))
            record.public_keys.add(event.public_key_sha256)
            record.signing_key = event.signing_key or record.signing_key
            record.expiry, record.slot = expiry, event.slot

    def _leased(self, event: history_pb2.LeaseGranted) -> None:
        record = self.records[event.seat]
        record.fencing_number, record.present, record.lapsed = event.fencing_number, True, False
        former = {f for f, (who, _) in self._certificates.items() if who.seat == event.seat and f != event.fingerprint}
        if former:  # else nobody's certificate ended, and of a thousand streams none is to be woken
            self._revoke(former, "replaced by a newer one")

    def _end(self, event: history_pb2.CertificateRevoked) -> None:
        role = role_from_proto(event.role)
        ended = {f for f, (who, _) in self._certificates.items() if who.role is role and who.seat == event.seat}
        if event.seat:
            self.records[event.seat].revoked = True
            self.records[event.seat].present = False
        self._revoke(ended, event.reason)

    def _revoke(self, fingerprints: set[bytes], reason: str) -> None:
        for fingerprint in fingerprints:
            del self._certificates[fingerprint]
            self._revoked[fingerprint] = reason
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
