"""Leases and lapses on a real journal, also when two things happen at once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedfraud.errors import Fenced, Stale, TooLarge
from fedfraud.identity import Credential, Identity, Role
from fedfraud.logs import Log
from fedfraud.v1 import federation_pb2, history_pb2, model_pb2
from services.aggregator.journal import Journal
from services.aggregator.participants import Participant, Participants
from services.aggregator.seats import Seats
from services.aggregator.writer import Writer

HELLO = federation_pb2.ParticipateResponse()
LATER = datetime.now(UTC) + timedelta(hours=1)


@dataclass
class Ground:
    """Three seats that were enrolled, and who is there."""

    seats: Seats
    participants: Participants
    journal: Journal

    async def join(self, seat: str) -> Participant:
        return await self.participants.join(seat, Credential(Identity(Role.BANK, seat), b"\1" * 32, b"", LATER))

    async def told(self) -> list[str]:
        """The kinds of the journal's entries after the enrolments."""
        return [entry.WhichOneof("event") or "" for entry in await self.journal.read(3)]


@pytest.fixture
async def ground(tmp_path: Path) -> AsyncIterator[Ground]:
    writer, seats = Writer(), Seats()
    journal = Journal(tmp_path / "journal.sqlite3", writer, Ed25519PrivateKey.generate())
    await journal.replay(seats.apply)
    for number in (1, 2, 3):
        issued = history_pb2.CertificateIssued(
            role=model_pb2.ROLE_BANK, seat=f"bank-0{number}", fingerprint=bytes([number]) * 32, slot=number
        )
        issued.expiry_time.FromDatetime(LATER)
        await journal.append(issued)
    yield Ground(seats, Participants(seats, journal, Log("aggregator")), journal)
    writer.close()
    journal.close()


async def test_a_newer_lease_ends_the_older_stream_after_what_was_sent(ground: Ground) -> None:
    first = await ground.join("bank-01")
    first.send(HELLO)
    second = await ground.join("bank-01")
    assert (first.fencing_number, second.fencing_number) == (1, 2)
    messages = first.messages()
    assert await anext(messages) == HELLO
    with pytest.raises(Fenced, match=r"^a lease must be the newest of bank-01, number 1 no longer is$"):
        await anext(messages)
    await ground.participants.leave(first)
    assert ground.participants.present == {"bank-01"}
    await ground.participants.leave(second)
    assert ground.participants.present == frozenset()
    assert await ground.told() == ["lease_granted", "lease_granted", "seat_absent"]


async def test_who_missed_a_deadline_is_not_ready_until_it_speaks(ground: Ground) -> None:
    for seat in ("bank-01", "bank-02"):
        await ground.join(seat)
    ground.participants.missed("bank-02")
    assert ground.participants.present == {"bank-01", "bank-02"}
    assert ground.participants.ready == {"bank-01"}
    changed = ground.participants.changed
    ground.participants.spoke("bank-02")
    assert changed.is_set()
    assert ground.participants.ready == {"bank-01", "bank-02"}


async def test_a_run_that_begins_asks_everybody_again(ground: Ground) -> None:
    await ground.join("bank-01")
    ground.participants.missed("bank-01")
    ground.participants.forgive()
    assert ground.participants.ready == {"bank-01"}


async def test_a_seat_that_joins_again_and_again_is_refused_and_the_others_are_not(ground: Ground) -> None:
    async def again_and_again() -> None:
        for _ in range(100):
            await ground.join("bank-01")

    with pytest.raises(TooLarge, match=r"^leases of one seat must be at most 1 a second, got more; try again$"):
        await again_and_again()
    assert 50 <= ground.seats.record("bank-01").fencing_number < 100
    assert (await ground.join("bank-02")).fencing_number == 1


async def test_joining_again_is_speaking(ground: Ground) -> None:
    await ground.join("bank-01")
    ground.participants.missed("bank-01")
    await ground.join("bank-01")
    assert ground.participants.ready == {"bank-01"}


async def test_a_bank_that_goes_away_while_it_joins_is_not_present(ground: Ground) -> None:
    former = await ground.join("bank-01")
    going = asyncio.create_task(ground.join("bank-01"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # two turns of the loop: the grant is on its way to the disk
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert not ground.seats.record("bank-01").present
    assert ground.participants.present == frozenset()
    assert await ground.told() == ["lease_granted", "lease_granted", "seat_absent"]
    with pytest.raises(Fenced):
        await anext(former.messages())
    assert (await ground.join("bank-01")).fencing_number == 3


async def test_a_bank_that_joins_as_its_seat_lapses_is_one_or_the_other(ground: Ground) -> None:
    joined, lapsed = await asyncio.gather(
        ground.join("bank-01"), ground.participants.lapse("bank-01", "away"), return_exceptions=True
    )
    assert isinstance(joined, Participant)
    assert isinstance(lapsed, Stale)
    assert str(lapsed) == "a seat must be absent to lapse, bank-01 is present"
    assert not ground.seats.record("bank-01").lapsed
    await ground.participants.lapse("bank-02", "away")
    await ground.participants.lapse("bank-02", "away")
    assert ground.seats.record("bank-02").lapsed
    assert await ground.told() == ["lease_granted", "seat_lapsed"]


async def test_a_seat_comes_back_before_or_after_its_slot_is_given_but_never_both(ground: Ground) -> None:
    await ground.participants.lapse("bank-01", "away")

    async def enrol() -> int:
        """As the registrar does: choose and journal under the lock."""
        async with ground.seats.lock:
            seat, slot = ground.seats.next_seat(9, simulated=True)
            issued = history_pb2.CertificateIssued(
                role=model_pb2.ROLE_BANK, seat=seat, fingerprint=b"\4" * 32, slot=slot
            )
            issued.expiry_time.FromDatetime(LATER)
            await ground.journal.append(issued)
            return slot

    joined, slot = await asyncio.gather(ground.join("bank-01"), enrol(), return_exceptions=True)
    assert isinstance(joined, Participant)
    assert slot == 4
    living = [record.slot for record in ground.seats.records.values() if not record.lapsed]
    assert sorted(living) == [1, 2, 3, 4]
