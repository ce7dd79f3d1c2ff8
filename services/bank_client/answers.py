"""A bank's answers to rounds: each is prepared once, and sent as often as it takes while its round is open."""

import asyncio
import functools
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import grpc

from fedfraud.errors import Conflict, FedfraudError, NotStored
from fedfraud.fixed_point import Segment
from fedfraud.logs import Log
from fedfraud.manifest import Manifest
from fedfraud.masking_policy import OpenedBefore
from fedfraud.masking_wire import answer_to_proto, parameters_from_proto, roster_from_proto
from fedfraud.v1 import federation_pb2, federation_pb2_grpc, masking_pb2
from fedfraud.wire import round_key_from_proto, round_key_to_proto
from services.bank_client.attempts import Attempts
from services.bank_client.contribution import Contributor
from services.bank_client.line import Line
from services.bank_client.own_work import OwnWork
from services.bank_client.receipts import Receipts
from services.bank_client.release import Released
from services.bank_client.reused import Reused, let_go
from services.bank_client.sending import is_transient, until_sent
from services.bank_client.task import Task
from services.bank_client.tasks import CALL_SECONDS, call_seconds, counters_of, seconds_left, task_of
from services.bank_client.work import Work, failed


@dataclass(frozen=True)
class Session:
    """One lease: the stub to call and the fencing number that contributions carry."""

    stub: "federation_pb2_grpc.FederationServiceAsyncStub"
    fencing_number: int


class Answers:
    """What a bank does with the rounds that it is asked to answer, over one session after another."""

    def __init__(
        self,
        seat: str,
        manifest: Manifest,
        contributor: Contributor,
        receipts: Receipts,
        attempts: Attempts,
        training: Executor | None = None,
    ) -> None:
        self.manifest = manifest
        self.row_count = contributor.row_count
        self._seat = seat
        self._contributor = contributor
        self._receipts = receipts
        self._attempts = attempts
        self._training = training
        self._log = Log(seat)
        self._work: Work | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._own = OwnWork(seat, training)
        self._line = Line()
        self._memory = Reused()

    def begin(self, instruction: federation_pb2.RoundInstruction, session: Session) -> None:
        """Answers a round; one that is being answered already goes on and is sent under the new lease."""
        key = round_key_from_proto(instruction.key)
        ends = time.monotonic() + seconds_left(instruction.time_left)
        if self._work is None or self._work.key != key:
            self.drop()
            self._own.give_way()
            self._work = Work(key, threading.Event(), ends, instruction.piece_bytes)
        self._work.ends = ends
        work, masked = self._work, instruction.HasField("masking")
        if not masked and self._attempts.insists:
            reason = "a round must be masked, this one is not"
            self._log.error("not released", seat=self._seat, round=key, reason=reason)
            return
        answer, what = (self._advertise, "advertise") if masked else (self._contribute, "answer")
        self.spawn(until_sent(work, lambda: answer(instruction, work, session), self._seat), f"{what} {key}")

    def stage(self, told: federation_pb2.StageInstruction, session: Session) -> None:
        """Answers a further stage of the masked round that it takes part in."""
        work, key = self._work, round_key_from_proto(told.key)
        if work is None or work.key != key:
            self._log.warning("stage of another round", seat=self._seat, round=key)
            return
        work.ends = time.monotonic() + seconds_left(told.time_left)
        answer = self._mask if told.stage == masking_pb2.MASKING_STAGE_MASK else self._answer_stage
        self.spawn(until_sent(work, lambda: answer(told, work, session), self._seat), f"stage {told.stage} of {key}")

    async def _contribute(self, instruction: federation_pb2.RoundInstruction, work: Work, session: Session) -> None:
        """The answer to a plain round."""
        prepared = self._prepare(self._begin_task(instruction, work, session), work, session)
        await self._submit(await asyncio.shield(prepared), work, session)

    async def _submit(self, released: Released, work: Work, session: Session) -> None:
        answer = await self._line.upload(
            session.stub, released, session.fencing_number, work.piece_bytes, call_seconds(work.ends)
        )
        await asyncio.to_thread(self._receipts.keep, answer.receipt, work.key, self._seat, released.sha256)
        self._log.info("contributed", seat=self._seat, round=work.key, left=released.record)

    async def _advertise(self, instruction: federation_pb2.RoundInstruction, work: Work, session: Session) -> None:
        """Stage advertise; what is asked for is computed from then on, so that nobody waits for a bank that is busy."""
        asked = self._begin_task(instruction, work, session)
        async with self._declining(work, session):
            task = await asyncio.shield(asked)
            parameters, roster = parameters_from_proto(instruction), roster_from_proto(instruction.roster)
            inputs = await asyncio.to_thread(self._contributor.inputs, task)
            wanted = functools.partial(self._is_wanted, work)
            answer = await asyncio.to_thread(self._attempts.advertise, parameters, roster, inputs, wanted)
        await self._answer(answer_to_proto(answer), work, session)
        if self._is_wanted(work):
            self._prepare(asked, work, session)
        work.advertised.set()

    def _is_wanted(self, work: Work) -> bool:
        """Whether the bank still answers that round: another may have come while the model was fetched."""
        return self._work is work and not work.cancelled.is_set()

    async def _answer_stage(self, told: federation_pb2.StageInstruction, work: Work, session: Session) -> None:
        """Stage share, consent or unmask."""
        if not await self._has_advertised(work):
            return
        async with self._declining(work, session):
            answer = await asyncio.to_thread(self._attempts.answer, told)
        await self._answer(answer_to_proto(answer), work, session)

    async def _mask(self, told: federation_pb2.StageInstruction, work: Work, session: Session) -> None:
        """Stage mask: the contribution under its masks."""
        if not await self._has_advertised(work):
            return
        assert work.task is not None  # noqa: S101  # for the type checker: without it nothing is advertised
        async with self._declining(work, session):
            released = await asyncio.shield(self._prepare(work.task, work, session))
            masked = await asyncio.to_thread(self._attempts.mask, told, released)
        await self._submit(masked, work, session)

    async def _has_advertised(self, work: Work) -> bool:
        """Waits until the bank has advertised; False when the round is over before, by its deadline or by another."""
        while not work.advertised.is_set() and (left := work.ends - time.monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await work.advertised.wait()
        advertised = work.advertised.is_set() and self._is_wanted(work)
        if not advertised:
            self._log.warning("stage of a round that is over", seat=self._seat, round=work.key)
        return advertised

    @asynccontextmanager
    async def _declining(self, work: Work, session: Session) -> AsyncIterator[None]:
        """Tells the aggregator at once when this bank will not go on, so that nobody waits for it."""
        try:
            yield
        except (NotStored, OSError):
            raise
        except Exception as error:
            if self._is_wanted(work) and not is_transient(error):
                declined = masking_pb2.Declined(reason=_decline_reason(error))
                with suppress(grpc.aio.AioRpcError, grpc.aio.UsageError):
                    await self._answer(masking_pb2.StageAnswer(declined=declined), work, session)
            raise

    async def _answer(self, answer: masking_pb2.StageAnswer, work: Work, session: Session) -> None:
        request = federation_pb2.AnswerStageRequest(
            key=round_key_to_proto(work.key), fencing_number=session.fencing_number, answer=answer
        )
        await session.stub.AnswerStage(request, timeout=CALL_SECONDS)

    def _begin_task(
        self, instruction: federation_pb2.RoundInstruction, work: Work, session: Session
    ) -> asyncio.Task[Task]:
        """Begins to fetch what a round is about, unless that goes on or is done."""
        if work.task is None or failed(work.task):
            asked = task_of(instruction, self._seat, self.manifest, session.stub, work.ends, self._memory)
            work.task = asyncio.create_task(let_go(asked))
        return work.task

    def _prepare(self, asked: asyncio.Task[Task], work: Work, session: Session) -> asyncio.Task[Released]:
        """Begins to compute what a round asks for, unless that goes on or is done."""
        if work.prepared is None or failed(work.prepared):
            prepared = let_go(self._prepared(asked, work, session))
            work.prepared = asyncio.create_task(prepared, name=f"prepare {work.key}")
        return work.prepared

    async def _prepared(self, asked: asyncio.Task[Task], work: Work, session: Session) -> Released:
        task = await asked
        sha256, counts = task.counters_sha256, task.segments == (Segment.COUNT,)
        if sha256 and not counts and not await asyncio.to_thread(self._contributor.knows, sha256):
            counters = await counters_of(sha256, self.manifest, session.stub, work.ends)
            await asyncio.to_thread(self._contributor.learn, sha256, counters)
        contribute, cancelled = self._contributor.contribute, work.cancelled.is_set
        return await asyncio.get_running_loop().run_in_executor(self._training, contribute, task, cancelled)

    def drop(self) -> None:
        """Gives up the answer that is being prepared."""
        if self._work is not None:
            self._work.drop()

    async def forget(self, run_id: str) -> None:
        """The run is over: nothing of its last round stays on disk but receipts and openings."""
        self.drop()
        self._work, self._memory = None, Reused()
        await asyncio.to_thread(self._attempts.erase)
        await asyncio.to_thread(self._contributor.erase)
        self._own.begin(run_id, self._contributor.after_run)

    async def finish(self) -> None:
        """The bank stops: the answer that is being prepared is given up, its own work has a moment to end."""
        self.drop()
        await self._own.finish()

    async def hang_up(self) -> None:
        """The session is over: nothing more is sent under it. What is being prepared goes on; the next one sends it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Runs a task that ends with the session at the latest, and says so if it fails."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._log.error("a task failed", exc_info=task.exception() or False, seat=self._seat, task=task.get_name())


def _decline_reason(error: Exception) -> masking_pb2.DeclineReason.ValueType:
    """A refusal is the bank's policy; whatever else fails leaves it without what it needs for the attempt."""
    match error:
        case OpenedBefore():
            return masking_pb2.DECLINE_REASON_OPENED_BEFORE
        case FedfraudError() if not isinstance(error, Conflict):
            return masking_pb2.DECLINE_REASON_POLICY
        case _:
            return masking_pb2.DECLINE_REASON_LOST
