"""The banks that hold a live stream, each under its seat's newest lease."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from fedfraud.errors import Fenced, Stale
from fedfraud.identity import Credential
from fedfraud.logs import Log
from fedfraud.v1 import federation_pb2, history_pb2
from services.aggregator.journal import Journal
from services.aggregator.rate_limit import RateLimit
from services.aggregator.seats import Seats
from services.aggregator.writer import Closed

_LEASES_PER_SECOND, _LEASE_BURST = 1.0, 50.0
"""Of one seat: each lease is a journal entry for ever."""


class Participant:
    """One live stream: what is put into its queue is sent, in order."""

    def __init__(self, seat: str, fencing_number: int) -> None:
        self.seat = seat
        self.fencing_number = fencing_number
        self._queue: asyncio.Queue[federation_pb2.ParticipateResponse | None] = asyncio.Queue()

    def send(self, message: federation_pb2.ParticipateResponse) -> None:
        """Puts a message on the stream."""
        self._queue.put_nowait(message)

    def fence(self) -> None:
        """Ends the stream: a newer lease of the seat exists."""
        self._queue.put_nowait(None)

    async def messages(self) -> AsyncIterator[federation_pb2.ParticipateResponse]:
        """What is to be sent, until the lease is fenced."""
        while (message := await self._queue.get()) is not None:
            yield message
        raise Fenced(f"a lease must be the newest of {self.seat}, number {self.fencing_number} no longer is")


class Participants:
    """Who is present, and who missed a deadline and has not spoken since."""

    def __init__(self, seats: Seats, journal: Journal, log: Log) -> None:
        self._seats = seats
        self._journal = journal
        self._log = log
        self._live: dict[str, Participant] = {}
        self._silent: set[str] = set()
        self._limits: dict[str, RateLimit] = {}
        self.changed = asyncio.Event()

    @property
    def present(self) -> frozenset[str]:
        """The seats with a live stream."""
        return frozenset(self._live)

    @property
    def ready(self) -> frozenset[str]:
        """The seats that the next cohort is made of."""
        return frozenset(self._live.keys() - self._silent)

    @property
    def silent(self) -> frozenset[str]:
        """The seats that missed a deadline and have not spoken since."""
        return frozenset(self._silent)

    async def join(self, seat: str, credential: Credential) -> Participant:
        """Grants the seat's next lease and fences the former one."""
        self._limits.setdefault(seat, RateLimit("leases of one seat", _LEASES_PER_SECOND, _LEASE_BURST)).take()
        async with self._seats.lock:
            self._seats.check_slot(seat)
            number, gone = self._seats.record(seat).fencing_number + 1, False
            try:
                await self._journal.append(
                    history_pb2.LeaseGranted(seat=seat, fencing_number=number, fingerprint=credential.fingerprint)
                )
            except asyncio.CancelledError:
                gone = True  # the lease is granted all the same, and somebody has to end it
            former = self._live.get(seat)
            participant = self._live[seat] = Participant(seat, number)
            if former is not None:
                former.fence()
            if gone:
                await self.leave(participant)
                raise asyncio.CancelledError
        self._silent.discard(seat)
        self.notify()
        self._log.info("joined", seat=seat, lease=number, present=len(self._live))
        return participant

    async def leave(self, participant: Participant) -> None:
        """The stream has ended; a newer lease of the same seat stays."""
        if self._live.get(participant.seat) is not participant:
            return
        del self._live[participant.seat]
        self.notify()
        self._log.info("left", seat=participant.seat, lease=participant.fencing_number, present=len(self._live))
        absent = history_pb2.SeatAbsent(seat=participant.seat, fencing_number=participant.fencing_number)
        with suppress(Closed):  # the next start tells that nobody is there
            await self._journal.insist(absent)

    async def lapse(self, seat: str, reason: str) -> None:
        """The seat's slot is free from here. Refused while the seat is present, and when it is revoked."""
        async with self._seats.lock:
            record = self._seats.record(seat)
            if record.revoked or record.present:
                state = "revoked" if record.revoked else "present"
                raise Stale(f"a seat must be absent to lapse, {seat} is {state}")
            if not record.lapsed:
                await self._journal.append(history_pb2.SeatLapsed(seat=seat, reason=reason))
                self._log.info("seat lapsed", seat=seat, reason=reason)

    def send(self, seat: str, message: federation_pb2.ParticipateResponse) -> None:
        """Puts a message on the seat's stream, if it has one."""
        if seat in self._live:
            self._live[seat].send(message)

    def missed(self, seat: str) -> None:
        """The seat let a deadline pass: it stays out of cohorts until it speaks, or the next run begins."""
        self._silent.add(seat)
        self._log.warning("left out of rounds until it speaks", seat=seat)

    def forgive(self) -> None:
        """A run begins: whoever holds a stream is asked again."""
        self._silent.clear()
        self.notify()

    def spoke(self, seat: str) -> None:
        """The seat made a call."""
        if seat in self._silent:
            self._silent.discard(seat)
            self.notify()

    def notify(self) -> None:
        """Wakes whoever waits for `changed`."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()
