"""Drives one round among its surroundings: from its opening, or from where a restart left it, to its sum."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedfraud import fixed_point, masking_journal
from fedfraud.errors import Invalid, NotStored
from fedfraud.fixed_point import Segment, Words
from fedfraud.layout import Layout
from fedfraud.logs import Log
from fedfraud.manifest import Manifest
from fedfraud.masking_parameters import TooFew
from fedfraud.masking_sum import Stage
from fedfraud.packing import Packing
from fedfraud.wire import RoundKey
from services.aggregator import messages, stored_words
from services.aggregator.averaging import Model
from services.aggregator.holdout import Holdout
from services.aggregator.intake import Intake
from services.aggregator.journal import Journal
from services.aggregator.masked import MaskedRound
from services.aggregator.memory import MEMORY_BYTES
from services.aggregator.open_round import OpenRound
from services.aggregator.participants import Participants
from services.aggregator.progress import Progress
from services.aggregator.rounds import Outcome, Plan
from services.aggregator.seats import Seats
from services.aggregator.vectors import Vectors
from services.aggregator.writer import Writer, persist


@dataclass(frozen=True)
class Surroundings:
    """What a run works with; all of it outlives the run."""

    manifest: Manifest
    holdout: Holdout | None
    intake: Intake
    participants: Participants
    journal: Journal
    writer: Writer
    vectors: Vectors
    log: Log
    round_deadline: float
    """Seconds that a round waits for its cohort, and a cohort for its quorum."""
    keep_contributions: bool
    """Whether contributions outlive their round, for a while."""
    stage_deadline: float
    """Seconds that each stage of a masked round waits, but for the one in which banks train."""
    federation_id: bytes
    """SHA-256 of the CA's certificate."""
    seats: Seats
    preset: str
    """The simulated population's variant; empty where it has none."""
    central_file: Path | None
    """Where the scores of a model trained on all rows in one place appear (simulation only)."""
    central_wait: float
    """Seconds that the end of a run waits for them, if they are under way."""


@dataclass(frozen=True)
class Closed:
    """A round that had its quorum: what it asked, who answered, and the words that came out."""

    plan: Plan
    layout: Layout
    seats: list[str]
    summed: Words | Path
    """In memory where they are few: they go to disk beside what follows from them. Otherwise their file."""
    sum_sha256: bytes
    """Of the file; empty while they are in memory alone."""
    opened_at: float

    def part(self, segment: Segment) -> Words:
        """The segment's words of the sum."""
        return stored_words.read(self.summed, self.layout.place(segment))


class RoundDrive:
    """One round of a run, plain or masked; `hold` it, and then it is committed by the run, void or abandoned."""

    def __init__(self, around: Surroundings, progress: Progress, plan: Plan, layout: Layout) -> None:
        self._around = around
        self._progress = progress
        self._plan = plan
        self._layout = layout
        self._opened_at = time.monotonic()

    async def hold(self, present: Model | None) -> Closed | None:
        """To its sum; None if it is void or abandoned. `present` is the model that is sent out."""
        around, plan, progress = self._around, self._plan, self._progress
        masked = await self._masked() if progress.secure else None
        if progress.open is None:
            await around.journal.insist(messages.round_opened(plan))
        else:
            around.log.info("round goes on", round=plan.key, answered=len(progress.accepted))
        summed = None if masked else await self._stored()
        ends, state = time.monotonic() + around.round_deadline, messages.round_of(plan, progress.accepted)
        masking = (masked.attempt.parameters, masked.attempt.roster) if masked else None
        instruction = messages.instruction(progress, plan, present, masking)
        open_round = OpenRound(state, self._layout, instruction, lambda: ends - time.monotonic(), masked)
        open_round.remember(progress.accepted)
        open_round.summed = summed
        around.intake.open(open_round)
        for seat in open_round.awaited:
            around.participants.send(seat, open_round.instruction())
        return await (self._add_masked(open_round, masked) if masked else self._add(open_round, ends))

    async def _add(self, open_round: OpenRound, ends: float) -> Closed | None:
        """Waits for the answers and adds them."""
        around, plan, state, packing = self._around, self._plan, open_round.state, open_round.packing
        try:
            async with asyncio.timeout(ends - time.monotonic()):
                await open_round.answered.wait()
        except TimeoutError:
            around.log.warning("deadline passed", round=plan.key, awaited=",".join(state.awaited))
        async with open_round.lock.exclusive():
            outcome = state.close()
        self._missed(open_round, state.awaited)
        seats = sorted(state.answered)
        if outcome is Outcome.VOID:
            banks = "bank" if len(seats) == 1 else "banks"
            await self.void(seats, f"{len(seats)} {banks} answered in time, the quorum is {plan.quorum}")
            return None
        if open_round.summed is not None:
            return Closed(plan, self._layout, seats, open_round.summed, b"", self._opened_at)
        sha256 = await around.writer.insist(around.vectors.add_up, plan.key, seats, packing)
        return Closed(plan, self._layout, seats, around.vectors.sum(plan.key), sha256, self._opened_at)

    async def _stored(self) -> Words | None:
        """The exact sum of what a former process stored of this round; None where contributions are large, which are
        added when it closes."""
        around, key, seats = self._around, self._plan.key, sorted(self._progress.accepted)
        packing = Packing(self._layout)
        if packing.size > MEMORY_BYTES:
            return None
        if not seats:
            return np.zeros(packing.word_count, np.uint64)
        return await persist(lambda: around.writer.aside(around.vectors.added, key, seats, packing))

    async def _masked(self) -> MaskedRound:
        """The attempt at its beginning, or where the journal says that it stands."""
        around, plan, progress = self._around, self._plan, self._progress
        opened, keys = progress.open or messages.round_opened(plan), around.seats.signing_keys()
        attempt = masking_journal.begun(
            opened, around.manifest, progress.recipe, keys, around.federation_id, progress.terms
        )
        stored = around.vectors.contributions(plan.key)

        def words(seat: str) -> Words:
            return fixed_point.from_bytes(stored(seat))

        declined = await asyncio.to_thread(masking_journal.replay, attempt, progress.stage_events, words)
        return MaskedRound(plan, attempt, declined, around.journal)

    async def _add_masked(self, open_round: OpenRound, masked: MaskedRound) -> Closed | None:
        """The stages of a masked round, to its opened sum."""
        attempt = masked.attempt
        try:
            await self._stages(open_round, masked)
            words = await asyncio.to_thread(attempt.open)
            self._layout.check_sum(words, len(attempt.survivors))
            summed, sha256 = await self._put_away(words)
        except (TooFew, Invalid) as error:
            await masked.end()
            async with open_round.lock.exclusive():
                open_round.state.outcome = Outcome.VOID
            # Once masked words have left a bank it cannot know that nobody opened them: they are not asked for again.
            end = self._abandon if attempt.survivors else self.void
            await end(list(attempt.survivors), f"{error}{masked.sat_out}")
            return None
        async with open_round.lock.exclusive():
            open_round.state.outcome = Outcome.COMMITTED
        return Closed(self._plan, self._layout, list(attempt.survivors), summed, sha256, self._opened_at)

    async def _put_away(self, words: Words) -> tuple[Words | Path, bytes]:
        """The words, or the file of many and its hash: memory is for the model that follows from them."""
        if words.nbytes <= MEMORY_BYTES:
            return words, b""
        writer, vectors, key = self._around.writer, self._around.vectors, self._plan.key
        return vectors.sum(key), await writer.insist(vectors.write_sum, key, fixed_point.to_bytes(words))

    async def _stages(self, open_round: OpenRound, masked: MaskedRound) -> None:
        """One stage after the other, each until all have answered or its deadline; TooFew when one cannot go on."""
        around = self._around
        while True:
            seconds = around.round_deadline if masked.stage is Stage.MASK else around.stage_deadline
            masked.began = time.monotonic()
            masked.ends = masked.began + seconds
            for seat in masked.awaited:
                if told := masked.instruction(seat):
                    around.participants.send(seat, told)
            try:
                async with asyncio.timeout(seconds):
                    await masked.progressed.wait()
            except TimeoutError:
                awaited, stage = ",".join(masked.awaited), masked.stage.name.lower()
                around.log.warning("deadline passed", round=self._plan.key, stage=stage, awaited=awaited)
            self._missed(open_round, masked.awaited)
            if masked.stage is Stage.UNMASK:
                await masked.end()
                return
            await masked.close()

    def _missed(self, open_round: OpenRound, awaited: Iterable[str]) -> None:
        """Who was silent stays out of the next cohort; who came and was turned away by our own disk was not silent."""
        for seat in awaited:
            if seat not in open_round.turned_away:
                self._around.participants.missed(seat)

    async def void(self, seats: list[str], reason: str) -> None:
        """The round ends without a result, and nothing of it was opened."""
        around, plan, seconds = self._around, self._plan, time.monotonic() - self._opened_at
        around.log.warning("round void", run=plan.key.run_id, round=plan.key.round, reason=reason)
        await around.journal.insist(messages.round_void(plan, seats, reason, seconds))
        await forget(around, plan.key)

    async def _abandon(self, seats: list[str], reason: str) -> None:
        """The round ends without a result, and may have been opened: its inputs are not sent again."""
        around, plan, seconds = self._around, self._plan, time.monotonic() - self._opened_at
        around.log.warning("round abandoned", run=plan.key.run_id, round=plan.key.round, reason=reason)
        await around.journal.insist(messages.round_abandoned(plan, seats, reason, seconds))
        await forget(around, plan.key)


async def forget(around: Surroundings, key: RoundKey, *, recycle: bool = False) -> None:
    """Takes a round's contributions away, unless they are kept for a while; with `recycle` their files wait for the
    next round's."""
    if not around.keep_contributions:
        with suppress(NotStored):  # the next start takes away what is left
            vectors = around.vectors
            await around.writer.beside(vectors.recycle_contributions if recycle else vectors.remove_contributions, key)
