"""A masked round among its surroundings: its parameters, the answers to its stages, what the next one begins with.

What is answered is in the journal before it is acknowledged, and what a stage begins with before it is sent, so that a
restart stands in the same stage with the same lists.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import timedelta

from fedfraud.errors import Invalid, Stale
from fedfraud.fixed_point import Words
from fedfraud.identity import Identity
from fedfraud.masking import Masked
from fedfraud.masking_journal import STAGES, decline_reason, take
from fedfraud.masking_sum import MaskedSum, Stage
from fedfraud.masking_wire import (
    advertisements_to_proto,
    answer_from_proto,
    answer_to_proto,
    consents_to_proto,
    delivered_to_proto,
    masked_to_proto,
)
from fedfraud.v1 import federation_pb2, history_pb2, masking_pb2
from fedfraud.wire import round_key_to_proto
from services.aggregator.journal import Journal
from services.aggregator.rounds import Plan
from services.aggregator.shared_lock import SharedLock


class MaskedRound:
    """One attempt: `stage` moves on by `close`, answers come in by `answer` and, masked words, by the intake."""

    def __init__(self, plan: Plan, attempt: MaskedSum, declined: dict[str, str], journal: Journal) -> None:
        self.attempt = attempt
        self.declined = declined
        """Seats that sit the attempt out, and why."""
        self.began = self.ends = time.monotonic()
        """When the present stage began to wait, and its deadline, by the monotonic clock."""
        self.progressed = asyncio.Event()
        """Set when nobody is waited for any more."""
        self._plan = plan
        self._journal = journal
        self._over = self._closing = False
        self._common = self._told_to_all()
        self._lock = SharedLock(self.note)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # a bank's answers, one after another
        self.note()

    @property
    def stage(self) -> Stage:
        """What is being collected."""
        return self.attempt.stage

    @property
    def awaited(self) -> list[str]:
        """The seats whose answers this stage waits for."""
        return [seat for seat in self.attempt.missing() if seat not in self.declined]

    @property
    def sat_out(self) -> str:
        """For a sentence: who sat the attempt out, and why."""
        told = ", ".join(f"{seat} ({reason})" for seat, reason in sorted(self.declined.items()))
        return f"; sat out: {told}" if told else ""

    def note(self) -> None:
        """Something was answered: whoever waits for the stage's end may look, once it is all on disk."""
        if not self.awaited and not self._lock.holders:
            self.progressed.set()

    async def answer(self, identity: Identity, answer: masking_pb2.StageAnswer) -> None:
        """Takes a bank's answer in, durably; the same again is nothing new, and no more are shares that come when the
        sum can be opened without them."""
        seat = identity.seat
        async with self._lock.shared(), self._turns[seat]:
            if self._over:
                self._needless(seat, answer)
                return
            if seat not in self._plan.cohort:
                raise Invalid(f"an answer must come from the round's cohort, {seat} is not in it")
            if answer.WhichOneof("answer") == "declined":
                if seat not in self.declined:
                    known = masking_pb2.Declined(reason=answer.declined.reason)  # and no field that we do not know
                    await self._journal_answer(seat, masking_pb2.StageAnswer(declined=known))
                    self.declined[seat] = decline_reason(known)
            elif take(self.attempt, told := answer_from_proto(answer, seat)):
                try:
                    await self._journal_answer(seat, answer_to_proto(told))
                except BaseException:
                    self.attempt.forget(seat)
                    raise

    async def end(self) -> None:
        """No answer is journalled from here on: it would stand after the round's end."""
        async with self._lock.exclusive():
            self._over = True

    def _needless(self, seat: str, answer: masking_pb2.StageAnswer) -> None:
        if answer.WhichOneof("answer") != "unmasking" or seat not in self.attempt.survivors:
            raise Stale(f"an answer must be to a stage of the open masked round, got one to {self._plan.key}")

    async def take_words(self, masked: Masked, words: Words, store: Callable[[], Awaitable[None]]) -> bool:
        """Adds a bank's masked words once `store` has made them durable; False for the very same again."""
        async with self._lock.shared(), self._turns[masked.seat]:
            if self._over:
                raise Stale(f"masked words must come before the end of their round, {self._plan.key} is over")
            if not self.attempt.mask(masked, words):
                return False
            try:
                await store()
            except BaseException:
                self.attempt.forget(masked.seat, words)
                raise
            return True

    async def close(self) -> None:
        """Ends the stage, durably; TooFew when too few answered."""
        async with self._lock.exclusive():
            closed = self.stage
            self.attempt.close()
            key = round_key_to_proto(self._plan.key)
            self._closing = True  # who comes back meanwhile is told of the next stage once it is on disk
            await self._journal.insist(history_pb2.StageClosed(key=key, stage=STAGES[closed]))
            self._common = self._told_to_all()
            self._closing = False
            self.progressed.clear()
            self.note()

    def instruction(self, seat: str) -> federation_pb2.ParticipateResponse | None:
        """What the present stage begins with for a seat; None at advertise, which the round's instruction
        begins, and while a stage is being closed."""
        if self.stage is Stage.ADVERTISE or self._closing:
            return None
        told = federation_pb2.ParticipateResponse(stage=self._common)
        told.stage.time_left.FromTimedelta(timedelta(seconds=max(self.ends - time.monotonic(), 0.0)))
        if self.stage is Stage.MASK:
            told.stage.sealed.extend(delivered_to_proto(self.attempt.delivery(seat).sealed))
        return told

    def _told_to_all(self) -> federation_pb2.StageInstruction:
        """What is the same for all of the present stage's beginning."""
        told = federation_pb2.StageInstruction(key=round_key_to_proto(self._plan.key), stage=STAGES[self.stage])
        match self.stage:
            case Stage.SHARE:
                told.advertisements.extend(advertisements_to_proto(self.attempt.advertisements))
            case Stage.MASK:
                told.seats.extend(self.attempt.shared)
            case Stage.CONSENT:
                told.masked.extend(masked_to_proto(self.attempt.masked))
            case Stage.UNMASK:
                told.consents.extend(consents_to_proto(self.attempt.consents))
        return told

    async def _journal_answer(self, seat: str, answer: masking_pb2.StageAnswer) -> None:
        key = round_key_to_proto(self._plan.key)
        await self._journal.append(history_pb2.StageAnswered(key=key, seat=seat, answer=answer))
