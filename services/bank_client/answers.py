"""A bank's answers to rounds: each is prepared once, and sent as often as it takes while its round is open."""

import asyncio
import hashlib
import random
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import grpc

from fedfraud import model
from fedfraud.errors import FedfraudError, Invalid, NotStored
from fedfraud.fixed_point import train_codec
from fedfraud.logs import Log
from fedfraud.manifest import Manifest
from fedfraud.v1 import federation_pb2, federation_pb2_grpc, model_pb2
from fedfraud.wire import (
    RoundKey,
    recipe_from_proto,
    round_key_from_proto,
    run_state_from_proto,
    segments_from_proto,
)
from services.bank_client.contribution import Contributor, Task
from services.bank_client.receipts import Receipts
from services.bank_client.release import Released

_TIMEOUT = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_MOST_ROUNDS = 10_000
_TRANSIENT = (
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)


@dataclass
class Work:
    """The answer to one round: prepared once, sent as often as it takes."""

    key: RoundKey
    cancelled: threading.Event
    prepared: asyncio.Task[Released] | None = None


@dataclass(frozen=True)
class Session:
    """One lease: the stub to call and the fencing number that contributions carry."""

    stub: "federation_pb2_grpc.FederationServiceAsyncStub"
    fencing_number: int


class Answers:
    """What a bank does with the rounds that it is asked to answer, over one session after another."""

    def __init__(self, seat: str, manifest: Manifest, contributor: Contributor, receipts: Receipts) -> None:
        self.manifest = manifest
        self.row_count = contributor.row_count
        self._seat = seat
        self._contributor = contributor
        self._receipts = receipts
        self._log = Log(seat)
        self._work: Work | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, instruction: federation_pb2.RoundInstruction, session: Session) -> None:
        """Answers a round; one that is being answered already goes on and is sent under the new lease."""
        key = round_key_from_proto(instruction.key)
        if self._work is None or self._work.key != key:
            self.drop()
            self._work = Work(key, threading.Event())
        self.spawn(self._answer(instruction, self._work, session), f"answer {key}")

    async def _answer(self, instruction: federation_pb2.RoundInstruction, work: Work, session: Session) -> None:
        """Answers a round, again and again while only the line or the aggregator fails and the deadline is ahead."""
        ends = time.monotonic() + instruction.time_left.ToTimedelta().total_seconds()
        pause = _FIRST_PAUSE
        while not await self._answered(instruction, work, session, ends):
            if time.monotonic() + pause > ends or work.cancelled.is_set():
                return
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, no secret
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _answered(
        self, instruction: federation_pb2.RoundInstruction, work: Work, session: Session, ends: float
    ) -> bool:
        """One try, until the deadline `ends` or for 30 s; False if another may do better."""
        try:
            if work.prepared is None or _failed(work.prepared):
                work.prepared = asyncio.create_task(self._prepare(instruction, work, session, ends))
            released = await asyncio.shield(work.prepared)
            requests = released.requests(session.fencing_number)
            answer = await session.stub.SubmitContribution(requests, timeout=_until(ends))
            await asyncio.to_thread(self._receipts.keep, answer.receipt, work.key, self._seat, released.sha256)
            self._log.info("contributed", seat=self._seat, round=work.key, left=released.record)
        except grpc.aio.AioRpcError as error:
            reason = error.details()
            self._log.warning("not contributed", seat=self._seat, round=work.key, status=error.code().name, why=reason)
            return error.code() not in _TRANSIENT
        except (NotStored, OSError) as error:
            self._log.error("disk fails", seat=self._seat, round=work.key, reason=error)
            return False
        except FedfraudError as error:
            self._log.error("not released", seat=self._seat, round=work.key, reason=error)
        except Exception:
            if not work.cancelled.is_set():
                raise
            self._log.info("round is over", seat=self._seat, round=work.key)
        return True

    async def _prepare(
        self, instruction: federation_pb2.RoundInstruction, work: Work, session: Session, ends: float
    ) -> Released:
        state = vector = None
        if instruction.HasField("model"):
            state = run_state_from_proto(instruction.run_state, self.manifest)
            vector = await self._vector(instruction.model, session, ends)
            sha256 = model.model_sha256(self.manifest, state, vector)
            if sha256 != instruction.model.model_sha256:
                raise Invalid(
                    f"a model must have the hash it came with, {instruction.model.model_sha256.hex()[:12]}, "
                    f"got {sha256.hex()[:12]}"
                )
        recipe = recipe_from_proto(instruction.recipe)
        train_codec(self.manifest, recipe).check_capacity()
        if not 1 <= instruction.round_count <= _MOST_ROUNDS:
            raise Invalid(f"a run's rounds must be 1 to {_MOST_ROUNDS}, got {instruction.round_count}")
        task = Task(
            key=work.key,
            seat=self._seat,
            step=instruction.step,
            segments=segments_from_proto(list(instruction.segments)),
            recipe=recipe,
            seed=instruction.seed,
            rounds=instruction.round_count,
            final=instruction.final,
            model_sha256=instruction.model.model_sha256,
            run_state=state,
            vector=vector,
            time_left=instruction.time_left.ToTimedelta().total_seconds(),
        )
        return await asyncio.to_thread(self._contributor.contribute, task, work.cancelled.is_set)

    async def _vector(self, reference: model_pb2.ModelReference, session: Session, ends: float) -> model.Vector:
        request = federation_pb2.GetVectorRequest(vector_sha256=reference.vector_sha256)
        data = bytearray()
        async for response in session.stub.GetVector(request, timeout=_until(ends)):
            data += response.chunk
            if len(data) > 4 * self.manifest.parameter_count:
                break
        if hashlib.sha256(data).digest() != reference.vector_sha256:
            raise Invalid(f"a vector must have the hash it was asked by, {reference.vector_sha256.hex()[:12]}")
        return model.from_bytes(bytes(data), self.manifest)

    def drop(self) -> None:
        """Gives up the answer that is being prepared."""
        if self._work is not None:
            self._work.cancelled.set()
            if self._work.prepared is not None:
                self._work.prepared.add_done_callback(_failed)  # looked at, so that asyncio does not complain

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


def _failed(task: asyncio.Task[Released]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _until(ends: float) -> float:
    """Seconds for one call: a narrow line may need all that are left; 30 even when that is later than the deadline."""
    return max(ends - time.monotonic(), _TIMEOUT)
