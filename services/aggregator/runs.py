"""One run: the preparing round, the training rounds and the final one, each committed wholly or void.

A run knows where it stands from its progress, which follows the journal: begun anew or after a restart is the same.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex

import numpy as np
from numpy.typing import NDArray

from fedfraud import fixed_point, masking_journal, model
from fedfraud.errors import Invalid, NotStored
from fedfraud.fixed_point import EvaluateCodec, Layout, Segment, Words
from fedfraud.logs import Log
from fedfraud.manifest import Manifest
from fedfraud.masking_parameters import TooFew
from fedfraud.masking_sum import Stage
from fedfraud.metrics import Scores, scores_from_counts
from fedfraud.model import RunState, Vector
from fedfraud.thresholds import LEAST_BANKS, sizes
from fedfraud.v1 import history_pb2, model_pb2
from fedfraud.wire import RoundKey, segments_from_proto
from services.aggregator import averaging, messages, recovery
from services.aggregator.averaging import Model
from services.aggregator.holdout import Holdout
from services.aggregator.intake import Intake, OpenRound
from services.aggregator.journal import Journal
from services.aggregator.masked import MaskedRound
from services.aggregator.participants import Participants
from services.aggregator.progress import Progress
from services.aggregator.rounds import Outcome, Plan
from services.aggregator.seats import Seats
from services.aggregator.vectors import Vectors
from services.aggregator.writer import Writer

_VOIDS_IN_A_ROW = 3


class RunFailed(Exception):
    """The run cannot go on; the message says why."""


class AlreadyOpened(Exception):
    """What a round is to ask for was opened before without a commit; it is not asked for again."""


class RunStopped(Exception):
    """An operator ended the run."""


def new_run_id() -> str:
    """Sorts by time and never repeats: 20261123-224501-5f3a."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{token_hex(2)}"


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


@dataclass(frozen=True)
class Closed:
    """A round that had its quorum: what it asked, who answered, and the words that came out."""

    plan: Plan
    layout: Layout
    seats: list[str]
    words: Words
    sum_sha256: bytes
    opened_at: float

    def part(self, segment: Segment) -> Words:
        """The segment's words of the sum."""
        return self.layout.part(self.words, segment)


class Run:
    """Drives one run from where its progress stands to its end; the intake fills the rounds."""

    def __init__(self, progress: Progress, around: Surroundings, returning: frozenset[str] = frozenset()) -> None:
        """`returning` are the banks that were there before a restart: the first cohort waits for them."""
        self.progress = progress
        self.waiting_for = ""
        self._around = around
        self._returning = returning
        self._model: Model | None = None

    async def load(self) -> None:
        """Takes up what a former process left; Misconfigured when its files are not as the journal says."""
        load, check = recovery.load_model, recovery.check_contributions
        self._model = await asyncio.to_thread(load, self.progress, self._around.vectors)
        await asyncio.to_thread(check, self.progress, self._around.vectors)

    async def drive(self) -> history_pb2.RunFinished:
        """All rounds that are left; returns and journals how the run ended."""
        self._around.participants.forgive()
        outcome, reason = history_pb2.RUN_OUTCOME_FINISHED, ""
        try:
            if self._model is None:
                await self._prepare()
            while self.progress.committed_count < self.progress.round_count:
                await self._train(self.progress.committed_count + 1)
            if not self.progress.scored:
                await self._score_final()
        except RunStopped:
            outcome, reason = history_pb2.RUN_OUTCOME_STOPPED, "an operator stopped it"
        except RunFailed as error:
            outcome, reason = history_pb2.RUN_OUTCOME_FAILED, str(error)
        except NotStored:  # the disk failed for too long: the next start goes on from what it has
            raise
        except Exception as error:  # whatever it was, the banks and the reporter must hear that the run is over
            self._around.log.error("a run failed", exc_info=True, run=self.progress.run_id, error=repr(error))
            outcome, reason = history_pb2.RUN_OUTCOME_FAILED, f"the aggregator failed: {error}"
        sha256 = self._model.reference.model_sha256 if self._model else b""
        finished = history_pb2.RunFinished(
            run_id=self.progress.run_id, outcome=outcome, reason=reason, model_sha256=sha256
        )
        await self._around.journal.insist(finished)
        return finished

    async def _prepare(self) -> None:
        """The standardise round: the run state, and the initial model under it."""
        try:
            done = await self._closed_round(0, (Segment.STANDARDISE,))
        except AlreadyOpened as error:
            raise RunFailed(f"a scaler must come from sums that are opened once: {error}") from error
        opened = fixed_point.standardise_codec(self._around.manifest).decode(done.part(Segment.STANDARDISE))
        state = averaging.run_state(opened, self.progress.recipe)
        vector = model.initial_vector(self._around.manifest, self.progress.seed)
        await self._commit(done, await store_model(self._around, vector, np.zeros(len(vector)), state), new_state=state)

    async def _train(self, step: int) -> None:
        """A training round: scores of the model received, then the average of the updates made from it."""
        before, recipe = self._present(), self.progress.recipe
        done = await self._closed_round(step, (Segment.EVALUATE, Segment.TRAIN))
        opened = fixed_point.train_codec(self._around.manifest, recipe).decode(done.part(Segment.TRAIN))
        vector, velocity = averaging.server_step(before.vector, before.velocity, opened.average, recipe.momentum)
        if not np.isfinite(vector).all():
            raise RunFailed(f"a model must be finite, round {step} made one that is not")
        produced = await store_model(self._around, vector, velocity, before.run_state)
        share = opened.clipped / (len(vector) * len(done.seats))
        momentum = b""
        if recipe.momentum:
            write = self._around.vectors.write_velocity
            momentum = await self._around.writer.insist(write, done.plan.key, velocity.astype("<f8").tobytes())
        pooled = _pooled(done) if Segment.EVALUATE in done.plan.segments else None
        await self._commit(done, produced, pooled=pooled, clipped_share=share, velocity_sha256=momentum)

    async def _score_final(self) -> None:
        """The last round: scores of the final model, and what banks disclose of themselves."""
        try:
            done = await self._closed_round(self.progress.round_count + 1, (Segment.EVALUATE,), final=True)
        except AlreadyOpened as error:
            self._around.log.warning("no scores of the final model", run=self.progress.run_id, reason=error)
            return
        await self._commit(done, self._present(), pooled=_pooled(done))

    async def _closed_round(self, step: int, segments: tuple[Segment, ...], *, final: bool = False) -> Closed:
        """Opens rounds, or takes up the open one, until one has its quorum; three voids in a row fail the run."""
        progress, around = self.progress, self._around
        while progress.voids < _VOIDS_IN_A_ROW:
            opened_at = time.monotonic()
            if progress.open:
                layout = Layout(segments_from_proto(list(progress.open.segments)), around.manifest, progress.recipe)
                plan = messages.plan_of(progress.open, layout.length)
            else:
                layout = Layout(self._unopened(segments), around.manifest, progress.recipe)
                plan = self._plan(step, layout, await self._cohort(), final=final)
            if len(plan.cohort) < self._least:
                await self._void(plan, [], f"{len(plan.cohort)} banks are ready, {self._least} are needed", opened_at)
            elif closed := await self._hold(plan, layout, opened_at):
                return closed
        raise RunFailed(
            f"at most {_VOIDS_IN_A_ROW - 1} rounds in a row may be void, got {progress.voids}; "
            f"the last: {progress.void_reason}"
        )

    @property
    def _least(self) -> int:
        """Banks that a round must begin with."""
        return max(self.progress.quorum, LEAST_BANKS) if self.progress.secure else self.progress.quorum

    def _unopened(self, segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
        """What may be asked for: after an opening without a commit, an update that is trained anew and nothing else."""
        if not self.progress.retry:
            return segments
        if Segment.TRAIN not in segments:
            raise AlreadyOpened(self.progress.void_reason)
        return (Segment.TRAIN,)

    def _plan(self, step: int, layout: Layout, cohort: frozenset[str], *, final: bool) -> Plan:
        progress, roster_size = self.progress, 0
        sha256 = self._model.reference.model_sha256 if self._model else b""
        key, quorum = progress.next_key, progress.quorum
        if progress.secure:
            roster_size = len(self._around.seats.records)
            quorum = max(quorum, sizes(max(len(cohort), LEAST_BANKS)).quorum)
        return Plan(key, step, tuple(layout.codecs), cohort, quorum, sha256, layout.length, final, roster_size)

    async def _cohort(self) -> frozenset[str]:
        """The banks that are ready; waits for a quorum of them (after a restart for all that were there), until the
        deadline."""
        around, deadline = self._around, time.monotonic() + self._around.round_deadline
        least, returning, self._returning = self._least, self._returning, frozenset()
        try:
            while not self.progress.stopping:
                ready = around.participants.ready
                if len(ready) >= least and returning <= ready:
                    break
                self.waiting_for = f"{max(least, len(returning))} banks, {len(ready)} are ready"
                async with asyncio.timeout(deadline - time.monotonic()):
                    await around.participants.changed.wait()
        except TimeoutError:
            around.log.warning("too few banks for a round", run=self.progress.run_id, waited_for=self.waiting_for)
        self.waiting_for = ""
        if self.progress.stopping:
            raise RunStopped
        return around.participants.ready

    async def _hold(self, plan: Plan, layout: Layout, opened_at: float) -> Closed | None:
        """One try of a round, from its opening, or from where a restart left it, to its sum; None if it is void."""
        around, deadline = self._around, time.monotonic() + self._around.round_deadline
        attempt = await self._attempt(plan) if self.progress.secure else None
        if self.progress.open is None:
            await around.journal.insist(messages.round_opened(plan))
        else:
            around.log.info("round goes on", round=plan.key, answered=len(self.progress.accepted))
        masking = (attempt.attempt.parameters, attempt.attempt.roster) if attempt else None
        instruction = messages.instruction(self.progress, plan, self._model, masking)
        state = messages.round_of(plan, self.progress.accepted)
        open_round = OpenRound(state, layout, instruction, lambda: deadline - time.monotonic(), attempt)
        open_round.remember(self.progress.accepted)
        around.intake.open(open_round)
        for seat in open_round.awaited:
            around.participants.send(seat, open_round.instruction())
        if attempt:
            return await self._opened(plan, layout, open_round, attempt, opened_at)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await open_round.answered.wait()
        except TimeoutError:
            around.log.warning("deadline passed", round=plan.key, awaited=",".join(state.awaited))
        async with open_round.lock:
            outcome = state.close()
        for seat in state.awaited:
            around.participants.missed(seat)
        seats = sorted(state.answered)
        if outcome is Outcome.VOID:
            reason = f"{len(seats)} banks answered in time, the quorum is {plan.quorum}"
            await self._void(plan, seats, reason, opened_at)
            return None
        words, sha256 = await around.writer.insist(self._sum, plan, seats)
        return Closed(plan, layout, seats, words, sha256, opened_at)

    async def _attempt(self, plan: Plan) -> MaskedRound:
        """The attempt at its beginning, or where the journal says that it stands."""
        around, progress, keys = self._around, self.progress, self._around.seats.signing_keys()
        opened = progress.open or messages.round_opened(plan)
        attempt = masking_journal.begun(opened, around.manifest, progress.recipe, keys, around.federation_id)

        def words(seat: str) -> Words:
            return fixed_point.from_bytes(around.vectors.read_contribution(plan.key, seat))

        declined = await asyncio.to_thread(masking_journal.replay, attempt, progress.stage_events, words)
        return MaskedRound(plan, attempt, declined, around.journal)

    async def _opened(
        self, plan: Plan, layout: Layout, open_round: OpenRound, attempt: MaskedRound, opened_at: float
    ) -> Closed | None:
        """The stages of a masked round, to its opened sum; None if it is void or abandoned."""
        around = self._around
        try:
            await self._stages(plan, attempt)
            words = await asyncio.to_thread(attempt.attempt.open)
            layout.check_sum(words, len(attempt.attempt.survivors))
            sha256 = await around.writer.insist(around.vectors.write_sum, plan.key, fixed_point.to_bytes(words))
        except (TooFew, Invalid) as error:
            reason = f"{error}{attempt.sat_out}"
            end = self._void if attempt.stage < Stage.CONSENT else self._abandon
            async with open_round.lock:
                open_round.state.outcome = Outcome.VOID
            await end(plan, list(attempt.attempt.survivors), reason, opened_at)
            return None
        async with open_round.lock:
            open_round.state.outcome = Outcome.COMMITTED
        return Closed(plan, layout, list(attempt.attempt.survivors), words, sha256, opened_at)

    async def _stages(self, plan: Plan, attempt: MaskedRound) -> None:
        """One stage after the other, each until all have answered or its deadline; TooFew when one cannot go on."""
        around = self._around
        while True:
            seconds = around.round_deadline if attempt.stage is Stage.MASK else around.stage_deadline
            for seat in attempt.awaited:
                if told := attempt.instruction(seat, seconds):
                    around.participants.send(seat, told)
            try:
                async with asyncio.timeout(seconds):
                    await attempt.progressed.wait()
            except TimeoutError:
                awaited, stage = ",".join(attempt.awaited), attempt.stage.name.lower()
                around.log.warning("deadline passed", round=plan.key, stage=stage, awaited=awaited)
            for seat in attempt.awaited:
                around.participants.missed(seat)
            if attempt.stage is Stage.UNMASK:
                return
            await attempt.close()

    def _sum(self, plan: Plan, seats: list[str]) -> tuple[Words, bytes]:
        vectors = self._around.vectors
        parts = (fixed_point.from_bytes(vectors.read_contribution(plan.key, seat)) for seat in seats)
        words = averaging.exact_sum(parts, plan.word_count)
        return words, vectors.write_sum(plan.key, fixed_point.to_bytes(words))

    async def _commit(
        self,
        done: Closed,
        produced: Model,
        *,
        pooled: Scores | None = None,
        new_state: RunState | None = None,
        clipped_share: float = 0.0,
        velocity_sha256: bytes = b"",
    ) -> None:
        """One journal entry makes the round's result the present model."""
        around, plan, seconds = self._around, done.plan, time.monotonic() - done.opened_at
        holdout = await asyncio.to_thread(self._holdout_scores, produced)
        entry = messages.round_committed(
            plan,
            done.seats,
            done.sum_sha256,
            produced,
            pooled=pooled,
            holdout=holdout,
            new_state=new_state,
            clipped_share=clipped_share,
            seconds=seconds,
            velocity_sha256=velocity_sha256,
        )
        await around.journal.insist(entry)
        self._model = produced
        await self._forget(plan.key)
        precision = holdout.average_precision if holdout else None
        around.log.info(
            "round committed",
            run=self.progress.run_id,
            round=plan.key.round,
            step="final" if plan.final else f"{plan.step}/{self.progress.round_count}" if plan.step else "preparing",
            banks=len(done.seats),
            holdout_ap="-" if precision is None else f"{precision:.3f}",
            seconds=f"{seconds:.2f}",
        )

    async def _void(self, plan: Plan, seats: list[str], reason: str, opened_at: float) -> None:
        around = self._around
        around.log.warning("round void", run=self.progress.run_id, round=plan.key.round, reason=reason)
        await around.journal.insist(messages.round_void(plan, seats, reason, time.monotonic() - opened_at))
        await self._forget(plan.key)

    async def _abandon(self, plan: Plan, seats: list[str], reason: str, opened_at: float) -> None:
        around = self._around
        around.log.warning("round abandoned", run=self.progress.run_id, round=plan.key.round, reason=reason)
        await around.journal.insist(messages.round_abandoned(plan, seats, reason, time.monotonic() - opened_at))
        await self._forget(plan.key)

    async def _forget(self, key: RoundKey) -> None:
        if not self._around.keep_contributions:
            with suppress(NotStored):  # the next start takes away what is left
                await self._around.writer.run(self._around.vectors.remove_contributions, key)

    def _holdout_scores(self, present: Model) -> Scores | None:
        if self._around.holdout is None:
            return None
        adjusted = self.progress.recipe.logit_adjustment
        return self._around.holdout.scores(
            self._around.manifest, present.run_state, present.vector, logit_adjustment=adjusted
        )

    def _present(self) -> Model:
        if self._model is None:
            raise RunFailed("a training round must have a model, got none")
        return self._model


async def store_model(around: Surroundings, vector: Vector, velocity: NDArray[np.float64], state: RunState) -> Model:
    """The model, once its vector is on disk."""
    sha256 = await around.writer.insist(around.vectors.write_model, model.to_bytes(vector))
    reference = model_pb2.ModelReference(
        model_sha256=model.model_sha256(around.manifest, state, vector),
        vector_sha256=sha256,
        parameter_count=len(vector),
    )
    return Model(vector, velocity, state, reference)


def _pooled(done: Closed) -> Scores:
    """How the received model does over all validation rows of the cohort."""
    codec = EvaluateCodec()
    legitimate, fraud = codec.decode(done.part(Segment.EVALUATE))
    return scores_from_counts(codec.centres(), legitimate, fraud)
