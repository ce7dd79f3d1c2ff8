"""Takes contributions in: checks while they arrive, makes them durable, then lets them count."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial

from fedfraud.chunks import Upload, Whole
from fedfraud.errors import FedfraudError, Invalid, NotStored, Stale, Stalled, TooLarge
from fedfraud.identity import Credential
from fedfraud.logs import Log
from fedfraud.masking import Masked
from fedfraud.packing import WORD_BYTES
from fedfraud.v1 import federation_pb2, history_pb2
from fedfraud.wire import disclosure_from_proto, disclosure_to_proto, round_key_from_proto, round_key_to_proto
from services.aggregator.arriving import Arriving, InFile, InMemory, room
from services.aggregator.journal import Journal
from services.aggregator.open_round import OpenRound
from services.aggregator.participants import Participants
from services.aggregator.seats import Seats
from services.aggregator.vectors import Vectors
from services.aggregator.writer import Writer

_UPLOADS = 4
"""Of one seat at once until they count or are refused, so that it cannot fill the disk or the memory: its former
sessions' may not have ended yet."""
_CALLS = 16
"""Of one seat that bring an upload at once, over all of its connections: the first message of each is in memory before
anything can be said against it."""
_REFUSALS_JOURNALLED = 20
"""Refusals of one seat in one round that go into the journal; a caller cannot fill the disk with its faults."""


class Intake:
    """The way of every contribution into the round that is open."""

    def __init__(
        self,
        seats: Seats,
        participants: Participants,
        journal: Journal,
        writer: Writer,
        vectors: Vectors,
        stall_timeout: float,
        log: Log,
    ) -> None:
        self.round: OpenRound | None = None
        """The round that is open or, between two rounds, the one that was last."""
        self._former: OpenRound | None = None
        self._refusals_before: Counter[str] = Counter()
        self._seats = seats
        self._participants = participants
        self._journal = journal
        self._writer = writer
        self._vectors = vectors
        self._room = room()
        self._uploads: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()
        self._stall_timeout = stall_timeout
        self._log = log

    def open(self, open_round: OpenRound) -> None:
        """Takes contributions to this round from now; for the former one only receipts are given again."""
        self._former, self.round = self.round, open_round
        if open_round.masked is None and open_round.state.complete:
            open_round.answered.set()

    async def receive(self, credential: Credential, requests: AsyncIterator[Upload]) -> federation_pb2.Receipt:
        """The receipt of a contribution that is durable and counts; refusals are journalled."""
        seat = credential.identity.seat
        header = federation_pb2.ContributionHeader()
        self._participants.spoke(seat)
        self._calls[seat] += 1
        try:
            if self._calls[seat] > _CALLS:
                raise TooLarge(f"a seat must have at most {_CALLS} calls with uploads at once, {seat} has more")
            first = await self._next(requests)
            if isinstance(first, Whole):
                header, requests, first = first.header, _body_of(first.data, requests), None
            elif isinstance(first, federation_pb2.SubmitContributionRequest) and first.HasField("header"):
                header = first.header
            else:
                raise Invalid(f"a contribution must begin with its header, got {_what(first)}")
            return await self._receive(credential, header, requests)
        except FedfraudError as refusal:
            await self._refused(seat, header, refusal)
            raise
        finally:
            self._calls[seat] -= 1

    async def _receive(
        self,
        credential: Credential,
        header: federation_pb2.ContributionHeader,
        requests: AsyncIterator[Upload],
    ) -> federation_pb2.Receipt:
        if self.round is None:
            raise Stale(f"a contribution must answer the open round, none is, got {round_key_from_proto(header.key)}")
        seat = credential.identity.seat
        if self._former and self._counts_already(self._former, seat, header):
            self._seats.check_lease(seat, header.fencing_number)
            return await self._receipt(self._former, seat)
        open_round = self.round
        if not self._admit(open_round, credential, header):
            return await self._receipt(open_round, seat)
        if header.HasField("disclosure"):  # its figures, held to their ranges, and no field that we do not know
            header.disclosure.CopyFrom(disclosure_to_proto(disclosure_from_proto(header.disclosure)))
        arriving = await self._arrived(open_round, seat, header, requests)
        # What is journalled counts, so this is not left half-way when the caller goes away.
        return await asyncio.shield(self._settle(open_round, credential, header, arriving))

    async def _arrived(
        self,
        open_round: OpenRound,
        seat: str,
        header: federation_pb2.ContributionHeader,
        requests: AsyncIterator[Upload],
    ) -> Arriving:
        """All of a contribution, checked as far as it can be."""
        if self._uploads[seat] >= _UPLOADS:
            raise TooLarge(f"a seat must have at most {_UPLOADS} uploads under way, {seat} has {self._uploads[seat]}")
        self._uploads[seat] += 1
        arriving = self._arriving(open_round, header.word_count)
        try:
            await self._body(requests, arriving)
            if (sha256 := await arriving.end()) != header.vector_sha256:
                raise Invalid(
                    f"a contribution must have the SHA-256 it announced, {header.vector_sha256.hex()[:12]}, "
                    f"got {sha256.hex()[:12]}"
                )
            if open_round.masked is None:  # masked words cannot be looked at: their opened sum is
                await arriving.check(open_round.packing)
        except BaseException:
            self._let_go(seat, arriving)
            raise
        return arriving

    def _let_go(self, seat: str, arriving: Arriving) -> None:
        arriving.drop()
        self._uploads[seat] -= 1

    def _arriving(self, open_round: OpenRound, word_count: int) -> Arriving:
        """Masked words are added in memory, and small ones are written in one piece: these wait there."""
        packing = open_round.packing
        if open_round.masked:
            return InMemory(WORD_BYTES * word_count)
        if open_round.summed is not None:
            return InMemory(packing.size)
        return InFile(packing.size, self._vectors, self._writer, self._room, packing.head_bytes)

    def _counts_already(self, former: OpenRound, seat: str, header: federation_pb2.ContributionHeader) -> bool:
        """Whether the former round has it: it closed before the bank had its answer."""
        same = former.state.answered.get(seat) == header.vector_sha256
        return same and former.state.plan.key == round_key_from_proto(header.key)

    async def _receipt(self, open_round: OpenRound, seat: str) -> federation_pb2.Receipt:
        return await self._journal.receipt(open_round.sequences[seat])

    async def answer_stage(self, credential: Credential, request: federation_pb2.AnswerStageRequest) -> None:
        """Takes a bank's answer to a stage of the open masked round in, durably; refusals are journalled."""
        seat, key = credential.identity.seat, round_key_from_proto(request.key)
        self._participants.spoke(seat)
        try:
            self._seats.check_lease(seat, request.fencing_number)
            known = [one for one in (self.round, self._former) if one and one.state.plan.key == key]
            masked = known[0].masked if known else None
            if masked is None:
                raise Stale(f"an answer must be to a stage of the open masked round, got one to {key}")
            await asyncio.shield(masked.answer(credential.identity, request.answer))
        except FedfraudError as refusal:
            await self._refused(seat, federation_pb2.ContributionHeader(key=request.key), refusal)
            raise

    async def _settle(
        self,
        open_round: OpenRound,
        credential: Credential,
        header: federation_pb2.ContributionHeader,
        arrived: Arriving,
    ) -> federation_pb2.Receipt:
        seat, receipt = credential.identity.seat, None
        try:
            async with open_round.lock.shared(), open_round.turns[seat]:
                # Since the header another stream, a newer lease, a revocation or the deadline may have come first.
                self._seats.check(credential)
                if self._admit(open_round, credential, header):
                    receipt = await self._accept(open_round, seat, header, arrived)
        finally:
            self._let_go(seat, arrived)
        return receipt or await self._receipt(open_round, seat)

    def _admit(self, open_round: OpenRound, credential: Credential, header: federation_pb2.ContributionHeader) -> bool:
        seat = credential.identity.seat
        self._seats.check_lease(seat, header.fencing_number)
        key = round_key_from_proto(header.key)
        return open_round.state.admit(seat, key, header.model_sha256, header.word_count, header.vector_sha256)

    async def _accept(
        self, open_round: OpenRound, seat: str, header: federation_pb2.ContributionHeader, arrived: Arriving
    ) -> federation_pb2.Receipt | None:
        """Its receipt; none where a masked attempt has these words already."""
        key, receipt = open_round.state.plan.key, None

        async def store() -> None:
            nonlocal receipt
            accepted = history_pb2.ContributionAccepted(
                key=round_key_to_proto(key),
                seat=seat,
                vector_sha256=header.vector_sha256,
                size_bytes=arrived.size,
                disclosure=header.disclosure if header.HasField("disclosure") else None,
                masked_signature=header.masked_signature if open_round.masked else b"",
            )
            stored = await self._journal.append_with(partial(arrived.keep, self._vectors, key, seat), accepted)
            open_round.sequences[seat], receipt = stored.entry.sequence, stored.receipt

        if open_round.masked:
            assert isinstance(arrived, InMemory)  # noqa: S101  # for the type checker: `_arriving` chose it
            told = Masked(seat, header.vector_sha256, header.masked_signature)
            await open_round.masked.take_words(told, arrived.words, store)
        else:
            await store()
        open_round.state.accept(seat, header.vector_sha256)
        if open_round.masked:
            open_round.masked.note()
            return receipt
        if isinstance(arrived, InMemory):  # large ones are added from their files
            open_round.add(arrived.data)
        if open_round.state.complete:
            open_round.answered.set()
        return receipt

    async def _body(self, requests: AsyncIterator[Upload], arriving: Arriving) -> None:
        size = arriving.size
        while (request := await self._next(requests)) is not None:
            if not isinstance(request, memoryview):
                raise Invalid(f"a contribution must be chunks after its header, got {_what(request)}")
            if not request:
                raise Invalid("a chunk must have at least 1 byte, got 0")
            if arriving.received + len(request) > size:
                raise TooLarge(f"a contribution must have the {size} bytes it announced, got more")
            await arriving.take(request)
        if arriving.received != size:
            raise Invalid(f"a contribution must have the {size} bytes it announced, got {arriving.received}")

    async def _next(self, requests: AsyncIterator[Upload]) -> Upload | None:
        try:
            async with asyncio.timeout(self._stall_timeout):
                return await anext(requests, None)
        except TimeoutError:
            raise Stalled(f"an upload must not pause for more than {self._stall_timeout:g} s, it did") from None

    async def _refused(self, seat: str, header: federation_pb2.ContributionHeader, refusal: FedfraudError) -> None:
        self._participants.spoke(seat)  # also when the deadline passed while it was sending
        key = round_key_from_proto(header.key)
        self._log.warning("contribution refused", seat=seat, round=key, status=refusal.status.name, reason=refusal)
        refusals = self._refusals_before if self.round is None else self.round.refusals
        refusals[seat] += 1
        if self.round is not None and isinstance(refusal, NotStored):
            self.round.turned_away.add(seat)
        if refusals[seat] > _REFUSALS_JOURNALLED:
            return
        refused = history_pb2.ContributionRefused(
            key=round_key_to_proto(key), seat=seat, status=refusal.status.name, reason=str(refusal)
        )
        with contextlib.suppress(NotStored):  # the log has it
            await self._journal.append(refused)


async def _body_of(data: memoryview, requests: AsyncIterator[Upload]) -> AsyncIterator[Upload]:
    """What comes after the header of a contribution in one message: its bytes, and the rest of its stream, which is to
    be nothing."""
    yield data
    del data
    async for request in requests:
        yield request


def _what(request: Upload | None) -> str:
    """In words, for a sentence."""
    if request is None:
        return "nothing"
    if isinstance(request, memoryview):
        return "a chunk"
    if isinstance(request, Whole):
        return "a whole contribution"
    kind = request.WhichOneof("message")
    return f"a {kind}" if kind else "an empty message"
