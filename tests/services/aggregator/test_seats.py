"""Seats as the journal tells them, by a clock that the test holds."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fedfraud.errors import Fenced, Forbidden, NotFound, Stale, TooLarge, Unauthenticated
from fedfraud.identity import Credential, Identity, Role
from fedfraud.v1 import history_pb2
from fedfraud.wire import role_to_proto
from services.aggregator.seats import Seats

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Told:
    """Seats, their clock, and short ways to tell them of events."""

    def __init__(self) -> None:
        self.now = NOON
        self.seats = Seats(lambda: self.now)

    def tell(self, **event: Any) -> "Told":  # noqa: ANN401  # any of the events
        self.seats.apply(history_pb2.Entry(**event))
        return self

    def issue(self, seat: str, mark: int, slot: int = 0, role: Role = Role.BANK, lifetime: timedelta = HOUR) -> "Told":
        """A certificate whose fingerprint and key are 32 bytes of `mark`."""
        event = history_pb2.CertificateIssued(
            role=role_to_proto(role),
            seat=seat,
            fingerprint=bytes([mark]) * 32,
            public_key_sha256=bytes([mark]) * 32,
            slot=slot,
        )
        event.expiry_time.FromDatetime(self.now + lifetime)
        return self.tell(certificate_issued=event)

    def lease(self, seat: str, number: int, mark: int) -> "Told":
        granted = history_pb2.LeaseGranted(seat=seat, fencing_number=number, fingerprint=bytes([mark]) * 32)
        return self.tell(lease_granted=granted)

    def revoke(self, seat: str = "", role: Role = Role.BANK, reason: str = "stolen") -> "Told":
        revoked = history_pb2.CertificateRevoked(role=role_to_proto(role), seat=seat, reason=reason)
        return self.tell(certificate_revoked=revoked)

    def lapse(self, seat: str) -> "Told":
        return self.tell(seat_lapsed=history_pb2.SeatLapsed(seat=seat))


def shown(seat: str, mark: int, role: Role = Role.BANK, lifetime: timedelta = HOUR) -> Credential:
    """What the holder of the certificate `mark` shows."""
    return Credential(Identity(role, seat), bytes([mark]) * 32, bytes([mark]) * 32, NOON + lifetime)


def test_an_issued_certificate_counts_until_its_last_moment() -> None:
    told = Told().issue("bank-01", 1)
    told.now = NOON + HOUR - timedelta(microseconds=1)
    assert told.seats.check(shown("bank-01", 1)) == Identity(Role.BANK, "bank-01")
    told.now = NOON + HOUR
    sentence = "^a certificate must not be expired: bank-01's ended 2026-11-23 13:00:00 UTC$"
    with pytest.raises(Unauthenticated, match=sentence):
        told.seats.check(shown("bank-01", 1))
    told.issue("bank-02", 2)  # forgets what has expired: the sentence is the same
    with pytest.raises(Unauthenticated, match=sentence):
        told.seats.check(shown("bank-01", 1))


def test_a_certificate_that_was_never_issued_does_not_count() -> None:
    with pytest.raises(Unauthenticated, match=r"that this federation issued, got 010101010101$"):
        Told().seats.check(shown("bank-01", 1))


def test_the_former_certificate_ends_when_the_newer_takes_the_lease() -> None:
    told = Told().issue("bank-01", 1).lease("bank-01", 1, 1).issue("bank-01", 2)
    told.seats.check(shown("bank-01", 1))
    told.seats.check(shown("bank-01", 2))
    told.lease("bank-01", 2, 2)
    told.seats.check(shown("bank-01", 2))
    with pytest.raises(Unauthenticated, match=r"bank-01's 010101010101 was \(replaced by a newer one\)$"):
        told.seats.check(shown("bank-01", 1))


def test_a_lease_is_the_newest_or_fenced() -> None:
    told = Told().issue("bank-01", 1).lease("bank-01", 1, 1).lease("bank-01", 2, 1)
    told.seats.check_lease("bank-01", 2)
    for number in (0, 1, 3):
        with pytest.raises(Fenced, match=f"^a lease must be the newest of bank-01, number 2, got {number}$"):
            told.seats.check_lease("bank-01", number)


def test_revoking_a_seat_ends_all_its_certificates_and_shuts_out_its_key() -> None:
    told = Told().issue("bank-01", 1).issue("bank-01", 2).issue("bank-02", 3).revoke("bank-01")
    for mark in (1, 2):
        with pytest.raises(Unauthenticated, match=r"was \(stolen\)$"):
            told.seats.check(shown("bank-01", mark))
    told.seats.check(shown("bank-02", 3))
    with pytest.raises(Forbidden, match=r"^a seat must not be revoked, bank-01 is$"):
        told.seats.seat_of_key(bytes([1]) * 32)


def test_revoking_the_reporter_leaves_banks_and_operators_alone() -> None:
    told = Told().issue("", 1, role=Role.REPORTER).issue("", 2, role=Role.OPERATOR).issue("bank-01", 3)
    told.revoke(role=Role.REPORTER, reason="a newer reporter enrolled")
    with pytest.raises(Unauthenticated, match="a newer reporter enrolled"):
        told.seats.check(shown("", 1, Role.REPORTER))
    assert told.seats.check(shown("", 2, Role.OPERATOR)).role is Role.OPERATOR
    assert told.seats.check(shown("bank-01", 3)).seat == "bank-01"


def test_seats_are_numbered_on_and_slots_filled_from_below() -> None:
    told = Told()
    assert told.seats.next_seat(9, simulated=True) == ("bank-01", 1)
    told.issue("bank-01", 1, slot=1).issue("bank-02", 2, slot=2).issue("bank-03", 3, slot=3)
    assert told.seats.next_seat(9, simulated=True) == ("bank-04", 4)
    told.lapse("bank-02").revoke("bank-01")
    assert told.seats.next_seat(9, simulated=True) == ("bank-04", 1)
    assert told.seats.next_seat(9, simulated=False) == ("bank-04", 0)
    with pytest.raises(TooLarge, match=r"^seats must be at most 3, all are taken$"):
        told.seats.next_seat(3, simulated=True)


def test_a_key_gets_the_seat_it_was_certified_for() -> None:
    told = Told().issue("bank-01", 1).issue("bank-02", 2).issue("bank-01", 3)
    names = [
        record.name if record else None for record in map(told.seats.seat_of_key, (b"\1" * 32, b"\3" * 32, b"\4" * 32))
    ]
    assert names == ["bank-01", "bank-01", None]


def test_a_lapsed_seat_comes_back_unless_its_slot_is_taken() -> None:
    told = Told().issue("bank-01", 1, slot=1).lapse("bank-01")
    told.seats.check_slot("bank-01")
    told.issue("bank-02", 2, slot=1)
    sentence = "^a slot belongs to one living seat: bank-01 lapsed and bank-02 has its slot now$"
    with pytest.raises(Stale, match=sentence):
        told.seats.check_slot("bank-01")
    told.seats.check_slot("bank-02")
    told.revoke("bank-02")
    told.seats.check_slot("bank-01")


def test_real_banks_have_no_slot_that_another_could_take() -> None:
    told = Told().issue("bank-01", 1).lapse("bank-01").issue("bank-02", 2)
    told.seats.check_slot("bank-01")


def test_a_seat_is_present_until_the_end_of_its_newest_lease() -> None:
    told = Told().issue("bank-01", 1).lease("bank-01", 1, 1).lease("bank-01", 2, 1)
    told.tell(seat_absent=history_pb2.SeatAbsent(seat="bank-01", fencing_number=1))  # an older stream's end
    assert told.seats.record("bank-01").present
    told.tell(seat_absent=history_pb2.SeatAbsent(seat="bank-01", fencing_number=2))
    assert not told.seats.record("bank-01").present
    with pytest.raises(NotFound, match=r"^a seat must be enrolled, got 'bank-09'$"):
        told.seats.record("bank-09")


async def test_who_waits_hears_of_a_revocation_at_once() -> None:
    told = Told().issue("bank-01", 1).issue("bank-02", 2)
    waiting = asyncio.create_task(told.seats.until_invalid(shown("bank-01", 1)))
    await asyncio.sleep(0)  # one turn of the loop: it waits now
    told.revoke("bank-02")
    await asyncio.sleep(0)
    assert not waiting.done()
    told.revoke("bank-01")
    async with asyncio.timeout(10):
        assert "was (stolen)" in str(await waiting)


async def test_a_thousand_banks_that_join_do_not_wake_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    told, looks = Told().issue("bank-01", 1).issue("bank-02", 2).issue("bank-02", 3), []
    check = told.seats.check

    def looked(credential: Credential) -> Identity:
        looks.append(credential)
        return check(credential)

    monkeypatch.setattr(told.seats, "check", looked)
    waiting = asyncio.create_task(told.seats.until_invalid(shown("bank-01", 1)))
    await asyncio.sleep(0)
    told.lease("bank-01", 1, 1)
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(looks) == 1
    told.lease("bank-02", 1, 3)  # its former certificate ends: whoever waits looks whether it was his
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(looks) == 2
    waiting.cancel()


async def test_who_waits_hears_of_the_expiry() -> None:
    seats = Seats()
    told = Told()
    told.seats, told.now = seats, datetime.now(UTC)
    told.issue("bank-01", 1, lifetime=timedelta(seconds=0.1))
    credential = Credential(Identity(Role.BANK, "bank-01"), b"\1" * 32, b"\1" * 32, told.now + timedelta(seconds=0.1))
    async with asyncio.timeout(10):
        assert "must not be expired" in str(await seats.until_invalid(credential))
