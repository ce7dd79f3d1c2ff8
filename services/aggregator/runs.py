"""One run: the preparing round, the training rounds and the final one, each committed wholly or void.

A run knows where it stands from its progress, which follows the journal: begun anew or after a restart is the same.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

from fedfraud import fixed_point, model
from fedfraud.central import Central
from fedfraud.errors import Invalid, NotStored
from fedfraud.fixed_point import Segment
from fedfraud.layout import Layout, standardise_codec, train_codec
from fedfraud.masking_wire import task_sha256
from fedfraud.model import RunState, Vector
from fedfraud.thresholds import LEAST_BANKS, sizes
from fedfraud.trade_wire import trade_to_proto
from fedfraud.v1 import history_pb2, model_pb2
from fedfraud.wire import scores_to_proto, segments_from_proto
from services.aggregator import averaging, central, messages, recovery
from services.aggregator.averaging import Model
from services.aggregator.memory import MEMORY_BYTES
from services.aggregator.progress import Progress
from services.aggregator.round_drive import Closed, RoundDrive, Surroundings, forget
from services.aggregator.round_scores import RoundScores, pooled_scores, with_holdout
from services.aggregator.rounds import Plan
from services.aggregator.server_step import Step

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


class Run:
    """Drives one run from where its progress stands to its end; the intake fills the rounds."""

    def __init__(self, progress: Progress, around: Surroundings, returning: frozenset[str] = frozenset()) -> None:
        """`returning` are the banks that were there before a restart: the first cohort waits for them."""
        self.progress = progress
        self.waiting_for = ""
        self._around = around
        self._returning = returning
        self._model: Model | None = None
        self._forgetting: asyncio.Task[None] | None = None
        """Takes the former round's contributions away while the next one opens."""

    async def load(self) -> None:
        """Takes up what a former process left; Misconfigured when its files are not as the journal says."""
        load, check = recovery.load_model, recovery.check_contributions
        self._model = await asyncio.to_thread(load, self.progress, self._around.vectors)
        await asyncio.to_thread(recovery.check_counters, self.progress, self._around.vectors)
        await asyncio.to_thread(check, self.progress, self._around.vectors)
        await self._around.writer.aside(recovery.cut_contributions, self.progress, self._around.vectors)

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
        finally:  # also when the process ends: nothing of a round that is over is to be left on disk
            await self._forgotten()
        with suppress(NotStored):  # the next start takes away what is left
            await self._around.writer.aside(self._around.vectors.forget_spares)
        sha256 = self._model.reference.model_sha256 if self._model else b""
        finished = history_pb2.RunFinished(
            run_id=self.progress.run_id, outcome=outcome, reason=reason, model_sha256=sha256
        )
        if outcome == history_pb2.RUN_OUTCOME_FINISHED and (found := await self._central()):
            if found.scores:
                finished.central.CopyFrom(scores_to_proto(found.scores))
            if found.trade_figures:
                finished.central_trade.CopyFrom(trade_to_proto(found.trade_figures))
        await self._around.journal.insist(finished)
        return finished

    async def _central(self) -> Central | None:
        """How the same recipe does with all rows in one place, if the simulation has computed that for this run."""
        around = self._around
        path, purpose = around.central_file, central.purpose_of(self.progress, around.seats, around.preset)
        return await central.central_result(path, purpose, around.central_wait) if path and purpose else None

    async def _prepare(self) -> None:
        """The count round, where features follow from counters, and the standardise round: the run state, and the
        initial model under it."""
        try:
            if self._around.manifest.feature_plan and not self.progress.counters_sha256:
                await self._count()
            done = await self._closed_round(0, (Segment.STANDARDISE,))
        except AlreadyOpened as error:
            raise RunFailed(f"counters and scaler must come from sums that are opened once: {error}") from error
        opened = standardise_codec(self._around.manifest).decode(done.part(Segment.STANDARDISE))
        state = averaging.run_state(opened, self.progress.recipe, self.progress.counters_sha256)
        vector = model.initial_vector(self._around.manifest, self.progress.seed)
        await self._commit(done, *await self._produced(done, vector, state), new_state=state)

    async def _count(self) -> None:
        """The sum of what the banks count; no bank has features before it."""
        done = await self._closed_round(0, (Segment.COUNT,))
        counters = fixed_point.to_bytes(done.part(Segment.COUNT))
        await self._around.writer.insist(self._around.vectors.write_counters, counters)
        await self._commit(done, await store_sum(self._around, done), None, RoundScores())

    async def _train(self, step: int) -> None:
        """A training round: scores of the model received, then the average of the updates made from it."""
        before, around = self._present(), self._around
        done = await self._closed_round(step, (Segment.EVALUATE, Segment.TRAIN))
        codec = train_codec(around.manifest, self.progress.recipe)
        former = self.progress.velocity[0] if self.progress.velocity else None
        server = Step(codec, self.progress.recipe.momentum, around.vectors, done.summed, done.layout)
        # Written over the former one: fresh memory takes longer to come by than to fill. A large one is read from its
        # file, which the banks fetched and checked; a short one they had from memory, and nobody looked at its file.
        vector, large = before.vector, before.vector.nbytes > MEMORY_BYTES
        received = around.vectors.model(before.reference.vector_sha256) if large else vector.copy()
        try:
            momentum = await around.writer.insist(server.take, received, vector, former, done.plan.key)
        except Invalid as error:
            raise RunFailed(f"{error}, in round {step}") from error
        made = await self._produced(done, vector, before.run_state)
        share = server.clipped / (len(vector) * len(done.seats))
        await self._commit(done, *made, clipped_share=share, velocity_sha256=momentum)
        if large:
            used = [around.vectors.sum(done.plan.key), *([around.vectors.velocity(former)] if former else [])]
            await asyncio.to_thread(around.vectors.let_go, used)

    async def _score_final(self) -> None:
        """The last round: scores of the final model, and what banks disclose of themselves."""
        segments = (Segment.EVALUATE, Segment.TRADE) if self._around.manifest.feature_plan else (Segment.EVALUATE,)
        try:
            done = await self._closed_round(self.progress.round_count + 1, segments, final=True)
        except AlreadyOpened as error:
            self._around.log.warning("no scores of the final model", run=self.progress.run_id, reason=error)
            return
        present = self._present()
        storing, scoring = store_sum(self._around, done), self._scores(done, present.vector, present.run_state)
        sum_sha256, scores = await asyncio.gather(storing, scoring)
        await self._commit(done, sum_sha256, present, scores)

    async def _closed_round(self, step: int, segments: tuple[Segment, ...], *, final: bool = False) -> Closed:
        """Opens rounds, or takes up the open one, until one has its quorum; three voids in a row fail the run."""
        progress, around = self.progress, self._around
        while progress.voids < _VOIDS_IN_A_ROW:
            if progress.open:
                asked = segments_from_proto(list(progress.open.segments))
                layout = Layout(asked, around.manifest, progress.recipe, progress.terms)
                plan = messages.plan_of(progress.open, layout.length)
            else:
                layout = Layout(self._unopened(segments), around.manifest, progress.recipe, progress.terms)
                plan = self._plan(step, layout, await self._cohort(), final=final)
            drive = RoundDrive(around, progress, plan, layout)
            if len(plan.cohort) < self._least:
                ready = "1 bank is" if len(plan.cohort) == 1 else f"{len(plan.cohort)} banks are"
                await drive.void([], f"{ready} ready, {self._least} are needed")
            elif closed := await drive.hold(self._model):
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
        plan = Plan(key, step, tuple(layout.codecs), cohort, quorum, sha256, layout.length, final, roster_size)
        if progress.secure:
            asked = messages.instruction(progress, plan, self._model, None)
            state = self._model.run_state if self._model else None
            plan = replace(plan, task_sha256=task_sha256(asked, self._around.manifest, progress.recipe, state))
        return plan

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

    async def _commit(
        self,
        done: Closed,
        sum_sha256: bytes,
        produced: Model | None,
        scores: RoundScores,
        *,
        new_state: RunState | None = None,
        clipped_share: float = 0.0,
        velocity_sha256: bytes = b"",
    ) -> None:
        """One journal entry makes the round's result the present model."""
        around, plan = self._around, done.plan
        seconds = time.monotonic() - done.opened_at
        entry = messages.round_committed(
            plan,
            done.seats,
            sum_sha256,
            produced,
            scores,
            new_state=new_state,
            clipped_share=clipped_share,
            seconds=seconds,
            velocity_sha256=velocity_sha256,
        )
        await around.journal.insist(entry)
        self._model = produced
        # Masked words are added in memory as they come, and nothing would write over them: they go at once.
        await self._forgotten()
        self._forgetting = asyncio.create_task(forget(around, plan.key, recycle=not self.progress.secure))
        precision = scores.holdout.average_precision if scores.holdout else None
        around.log.info(
            "round committed",
            run=self.progress.run_id,
            round=plan.key.round,
            step="final" if plan.final else f"{plan.step}/{self.progress.round_count}" if plan.step else "preparing",
            banks=len(done.seats),
            holdout_ap="-" if precision is None else f"{precision:.3f}",
            seconds=f"{seconds:.2f}",
        )

    async def _forgotten(self) -> None:
        """Waits until nothing is left of what is being taken away."""
        if self._forgetting is not None:
            await asyncio.shield(self._forgetting)

    async def _produced(self, done: Closed, vector: Vector, state: RunState) -> tuple[bytes, Model, RoundScores]:
        """The sum's SHA-256 and the round's model, once both are on disk, and the round's scores: the banks wait."""
        storing = store_sum(self._around, done), store_model(self._around, vector, state)
        return await asyncio.gather(*storing, self._scores(done, vector, state))

    async def _scores(self, done: Closed, vector: Vector, state: RunState) -> RoundScores:
        """Of the model that the round received and, at the same time, of the one that it produced."""
        around, final = self._around, done.plan.final
        received = asyncio.to_thread(pooled_scores, done.layout, done.part, self.progress.terms, final=final)
        if around.holdout is None:
            return await received
        adjusted = self.progress.recipe.logit_adjustment
        produced = asyncio.to_thread(around.holdout.scored, around.manifest, state, vector, logit_adjustment=adjusted)
        scores, held = await asyncio.gather(received, produced)
        if final:  # with a curve and a fit: too much for the event loop
            return await asyncio.to_thread(with_holdout, scores, *held, final=True)
        return with_holdout(scores, *held, final=False)

    def _present(self) -> Model:
        if self._model is None:
            raise RunFailed("a training round must have a model, got none")
        return self._model


async def store_sum(around: Surroundings, done: Closed) -> bytes:
    """The SHA-256 of the round's sum, once it is on disk."""
    if isinstance(done.summed, Path):
        return done.sum_sha256
    return await around.writer.insist(around.vectors.write_sum, done.plan.key, fixed_point.to_bytes(done.summed))


async def store_model(around: Surroundings, vector: Vector, state: RunState) -> Model:
    """The model, once its vector is on disk."""
    writing = around.writer.insist(around.vectors.write_model, model.as_bytes(vector))
    naming = asyncio.to_thread(model.model_sha256, around.manifest, state, vector)
    sha256, model_sha256 = await asyncio.gather(writing, naming)
    reference = model_pb2.ModelReference(model_sha256=model_sha256, vector_sha256=sha256, parameter_count=len(vector))
    return Model(vector, state, reference)
