"""One run: the preparing round, the training rounds and the final one, each committed wholly or void."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex

import numpy as np
from numpy.typing import NDArray

from fedfraud import fixed_point, model
from fedfraud.errors import FedfraudError
from fedfraud.fixed_point import EvaluateCodec, Layout, Segment, StandardiseCodec, TrainCodec, Words
from fedfraud.logs import Log
from fedfraud.manifest import Manifest
from fedfraud.metrics import Scores, scores_from_counts
from fedfraud.model import RunState, Vector
from fedfraud.recipe import Recipe
from fedfraud.v1 import federation_pb2, history_pb2, model_pb2
from fedfraud.wire import (
    RoundKey,
    manifest_to_proto,
    recipe_to_proto,
    round_key_to_proto,
    run_state_to_proto,
    scores_to_proto,
    segments_to_proto,
)
from services.aggregator.averaging import exact_sum, run_state, server_step
from services.aggregator.holdout import Holdout
from services.aggregator.intake import Intake, OpenRound
from services.aggregator.journal import Journal, Writer
from services.aggregator.participants import Participants
from services.aggregator.rounds import Outcome, Plan, Round
from services.aggregator.vectors import Vectors

_VOIDS_IN_A_ROW = 3


class RunFailed(Exception):
    """The run cannot go on; the message says why."""


class RunStopped(Exception):
    """An operator ended the run."""


@dataclass(frozen=True)
class RunPlan:
    """What a run is to be."""

    run_id: str
    seed: int
    recipe: Recipe
    rounds: int
    quorum: int
    expected_banks: int
    round_deadline: float


def new_run_id() -> str:
    """Sorts by time and never repeats: 20261123-224501-5f3a."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{token_hex(2)}"


@dataclass(frozen=True)
class Model:
    """The model between two rounds."""

    vector: Vector
    velocity: NDArray[np.float64]
    run_state: RunState
    reference: model_pb2.ModelReference


@dataclass(frozen=True)
class Committed:
    """A round whose sum was computed: what it asked, and the words that came out."""

    open_round: OpenRound
    words: Words
    sum_sha256: bytes
    opened_at: float

    def part(self, segment: Segment) -> Words:
        """The segment's words of the sum."""
        return self.open_round.layout.part(self.words, segment)


class Run:
    """Drives one run from its first round to its last; the intake fills the rounds."""

    def __init__(
        self,
        plan: RunPlan,
        manifest: Manifest,
        holdout: Holdout | None,
        intake: Intake,
        participants: Participants,
        journal: Journal,
        writer: Writer,
        vectors: Vectors,
        log: Log,
    ) -> None:
        self.plan = plan
        self.committed_count = 0
        self.waiting_for = ""
        self._manifest = manifest
        self._holdout = holdout
        self._intake = intake
        self._participants = participants
        self._journal = journal
        self._writer = writer
        self._vectors = vectors
        self._log = log
        self._rounds = self._numbers()
        self._model: Model | None = None
        self._stopping = False

    def stop(self) -> None:
        """Ends the run after the round that is open."""
        self._stopping = True
        self._participants.notify()

    async def drive(self) -> history_pb2.RunFinished:
        """All rounds; returns and journals how the run ended."""
        await self._journal.append(self._started())
        self._log.info("run started", run=self.plan.run_id, recipe=self.plan.recipe.name, rounds=self.plan.rounds)
        outcome, reason = history_pb2.RUN_OUTCOME_FINISHED, ""
        try:
            await self._prepare()
            for step in range(1, self.plan.rounds + 1):
                await self._train(step)
            await self._score_final()
        except RunStopped:
            outcome, reason = history_pb2.RUN_OUTCOME_STOPPED, "an operator stopped it"
        except (RunFailed, FedfraudError) as error:
            outcome, reason = history_pb2.RUN_OUTCOME_FAILED, str(error)
        sha256 = self._model.reference.model_sha256 if self._model else b""
        finished = history_pb2.RunFinished(run_id=self.plan.run_id, outcome=outcome, reason=reason, model_sha256=sha256)
        await self._journal.append(finished)
        return finished

    async def _prepare(self) -> None:
        done = await self._commit_round(0, (Segment.STANDARDISE,))
        codec = fixed_point.codec_for(Segment.STANDARDISE, self._manifest, self.plan.recipe)
        assert isinstance(codec, StandardiseCodec)  # noqa: S101  # for the type checker
        state = run_state(codec.decode(done.part(Segment.STANDARDISE)), self.plan.recipe)
        vector = model.initial_vector(self._manifest, self.plan.seed)
        self._model = await self._stored(vector, np.zeros(len(vector)), state)
        await self._journal_commit(done, 0, model=self._model, run_state=state)

    async def _train(self, step: int) -> None:
        done = await self._commit_round(step, (Segment.EVALUATE, Segment.TRAIN))
        before, recipe = self._present_model(), self.plan.recipe
        codec = fixed_point.codec_for(Segment.TRAIN, self._manifest, recipe)
        assert isinstance(codec, TrainCodec)  # noqa: S101  # for the type checker
        opened = codec.decode(done.part(Segment.TRAIN))
        vector, velocity = server_step(before.vector, before.velocity, opened.average, recipe.momentum)
        if not np.isfinite(vector).all():
            raise RunFailed(f"a model must be finite, round {step} made one that is not")
        self._model = await self._stored(vector, velocity, before.run_state)
        self.committed_count = step
        share = opened.clipped / (len(vector) * len(done.open_round.state.answered))
        await self._journal_commit(done, step, model=self._model, pooled=self._pooled(done), clipped_share=share)

    async def _score_final(self) -> None:
        step = self.plan.rounds + 1
        done = await self._commit_round(step, (Segment.EVALUATE,), final=True)
        await self._journal_commit(done, step, model=self._present_model(), pooled=self._pooled(done))

    async def _commit_round(self, step: int, segments: tuple[Segment, ...], *, final: bool = False) -> Committed:
        """Opens rounds until one has its quorum; three voids in a row fail the run."""
        for _ in range(_VOIDS_IN_A_ROW):
            key = RoundKey(self.plan.run_id, next(self._rounds), 1)
            opened_at = time.monotonic()
            cohort = await self._cohort()
            layout = Layout(segments, self._manifest, self.plan.recipe)
            sha256 = self._model.reference.model_sha256 if self._model else b""
            plan = Plan(key, step, segments, cohort, self.plan.quorum, sha256, layout.length, final)
            if len(cohort) >= self.plan.quorum:
                committed = await self._hold(plan, layout, opened_at)
                if committed is not None:
                    return committed
            else:
                await self._void(plan, (), f"{len(cohort)} banks are present, the quorum is {plan.quorum}", opened_at)
        raise RunFailed(f"at most {_VOIDS_IN_A_ROW - 1} rounds in a row may be void, got {_VOIDS_IN_A_ROW}")

    async def _cohort(self) -> frozenset[str]:
        """The banks that are ready; waits for a quorum of them until the deadline."""
        deadline = time.monotonic() + self.plan.round_deadline
        try:
            while len(self._participants.ready) < self.plan.quorum and not self._stopping:
                self.waiting_for = f"{self.plan.quorum} banks, {len(self._participants.ready)} are ready"
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._participants.changed.wait()
        except TimeoutError:
            self._log.warning("too few banks for a round", run=self.plan.run_id, waited_for=self.waiting_for)
        self.waiting_for = ""
        if self._stopping:
            raise RunStopped
        return self._participants.ready

    async def _hold(self, plan: Plan, layout: Layout, opened_at: float) -> Committed | None:
        deadline = time.monotonic() + self.plan.round_deadline
        open_round = OpenRound(Round(plan), layout, self._instruction(plan), lambda: deadline - time.monotonic())
        await self._journal.append(self._opened(plan))
        self._intake.round = open_round
        for seat in plan.cohort:
            self._participants.send(seat, open_round.instruction())
        try:
            async with asyncio.timeout(self.plan.round_deadline):
                await open_round.answered.wait()
        except TimeoutError:
            self._log.warning("deadline passed", round=plan.key, awaited=",".join(open_round.state.awaited))
        async with open_round.lock:
            outcome = open_round.state.close()
        for seat in open_round.state.awaited:
            self._participants.missed(seat)
        if outcome is Outcome.VOID:
            reason = f"{len(open_round.state.answered)} banks answered in time, the quorum is {plan.quorum}"
            await self._void(plan, tuple(sorted(open_round.state.answered)), reason, opened_at)
            return None
        words, sha256 = await self._writer.run(self._sum, open_round)
        return Committed(open_round, words, sha256, opened_at)

    def _sum(self, open_round: OpenRound) -> tuple[Words, bytes]:
        key, seats = open_round.state.plan.key, sorted(open_round.state.answered)
        parts = (fixed_point.from_bytes(self._vectors.read_contribution(key, seat)) for seat in seats)
        words = exact_sum(parts, open_round.layout.length)
        return words, self._vectors.write_sum(key, fixed_point.to_bytes(words))

    async def _stored(self, vector: Vector, velocity: NDArray[np.float64], state: RunState) -> Model:
        sha256 = await self._writer.run(self._vectors.write_model, model.to_bytes(vector))
        reference = model_pb2.ModelReference(
            model_sha256=model.model_sha256(self._manifest, state, vector),
            vector_sha256=sha256,
            parameter_count=len(vector),
        )
        return Model(vector, velocity, state, reference)

    async def _journal_commit(
        self,
        done: Committed,
        step: int,
        model: Model,
        run_state: RunState | None = None,
        pooled: Scores | None = None,
        clipped_share: float = 0.0,
    ) -> None:
        plan, seats = done.open_round.state.plan, sorted(done.open_round.state.answered)
        holdout = await asyncio.to_thread(self._holdout_scores, model)
        await self._journal.append(
            history_pb2.RoundCommitted(
                key=round_key_to_proto(plan.key),
                step=step,
                seats=seats,
                sum_sha256=done.sum_sha256,
                model=model.reference,
                run_state=run_state_to_proto(run_state) if run_state else None,
                pooled=scores_to_proto(pooled) if pooled else None,
                holdout=scores_to_proto(holdout) if holdout else None,
                seconds=time.monotonic() - done.opened_at,
                clipped_share=clipped_share,
                segments=segments_to_proto(plan.segments),
            )
        )
        await self._writer.run(self._vectors.remove_contributions, plan.key)
        precision = holdout.average_precision if holdout else None
        self._log.info(
            "round committed",
            run=self.plan.run_id,
            round=plan.key.round,
            step=f"{step}/{self.plan.rounds}",
            banks=len(seats),
            holdout_ap="-" if precision is None else f"{precision:.3f}",
            seconds=f"{time.monotonic() - done.opened_at:.2f}",
        )

    async def _void(self, plan: Plan, seats: tuple[str, ...], reason: str, opened_at: float) -> None:
        self._log.warning("round void", run=self.plan.run_id, round=plan.key.round, reason=reason)
        await self._journal.append(
            history_pb2.RoundVoid(
                key=round_key_to_proto(plan.key),
                step=plan.step,
                seats=seats,
                reason=reason,
                seconds=time.monotonic() - opened_at,
                segments=segments_to_proto(plan.segments),
            )
        )
        await self._writer.run(self._vectors.remove_contributions, plan.key)

    def _holdout_scores(self, present: Model) -> Scores | None:
        if self._holdout is None:
            return None
        adjusted = self.plan.recipe.logit_adjustment
        return self._holdout.scores(self._manifest, present.run_state, present.vector, logit_adjustment=adjusted)

    def _pooled(self, done: Committed) -> Scores:
        codec = EvaluateCodec()
        legitimate, fraud = codec.decode(done.part(Segment.EVALUATE))
        return scores_from_counts(codec.centres(), legitimate, fraud)

    def _present_model(self) -> Model:
        if self._model is None:
            raise RunFailed("a training round must have a model, got none")
        return self._model

    def _instruction(self, plan: Plan) -> federation_pb2.RoundInstruction:
        present = self._model
        return federation_pb2.RoundInstruction(
            key=round_key_to_proto(plan.key),
            step=plan.step,
            segments=segments_to_proto(plan.segments),
            model=present.reference if present else None,
            run_state=run_state_to_proto(present.run_state) if present else None,
            recipe=recipe_to_proto(self.plan.recipe),
            seed=self.plan.seed,
            round_count=self.plan.rounds,
            final=plan.final,
        )

    def _opened(self, plan: Plan) -> history_pb2.RoundOpened:
        return history_pb2.RoundOpened(
            key=round_key_to_proto(plan.key),
            step=plan.step,
            segments=segments_to_proto(plan.segments),
            cohort=sorted(plan.cohort),
            quorum=plan.quorum,
            model_sha256=plan.model_sha256,
            final=plan.final,
        )

    def _started(self) -> history_pb2.RunStarted:
        return history_pb2.RunStarted(
            run_id=self.plan.run_id,
            seed=self.plan.seed,
            recipe=recipe_to_proto(self.plan.recipe),
            manifest=manifest_to_proto(self._manifest),
            aggregation=model_pb2.AGGREGATION_PLAIN,
            round_count=self.plan.rounds,
            quorum=self.plan.quorum,
            expected_bank_count=self.plan.expected_banks,
        )

    @staticmethod
    def _numbers() -> Iterator[int]:
        number = 0
        while True:
            yield (number := number + 1)
