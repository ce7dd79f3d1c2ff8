"""The bank's side of the federation: joins, hears of rounds, answers them, and comes back when the line is cut."""

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
from fedfraud.channel import KeyPair, mutual_channel
from fedfraud.enrolment import JoinFolder
from fedfraud.errors import FedfraudError, Invalid
from fedfraud.fixed_point import train_codec
from fedfraud.health import HealthServer
from fedfraud.identity import certificate_request, key_pem, new_key, public_key_sha256, read_credential
from fedfraud.logs import Log
from fedfraud.manifest import Manifest
from fedfraud.v1 import federation_pb2, federation_pb2_grpc, model_pb2
from fedfraud.wire import (
    PROTOCOL_VERSION,
    RoundKey,
    manifest_from_proto,
    recipe_from_proto,
    round_key_from_proto,
    run_state_from_proto,
    segments_from_proto,
)
from services.bank_client import enrol
from services.bank_client.contribution import Contributor, Task, preload
from services.bank_client.release import Released
from services.bank_client.settings import Settings

_TIMEOUT = 30.0
_FIRST_PAUSE = 0.2
_MOST_ROUNDS = 10_000
_TRANSIENT = (
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)
_FINAL = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNIMPLEMENTED)


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


class Renewed(Exception):
    """The certificate was renewed: the stream is to be opened again with the new one."""


class BankClient:
    """One bank, until it is told to stop, fenced or shut out."""

    def __init__(self, settings: Settings, stop: asyncio.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._log = Log("bank")
        self._seat = ""
        self._connected = False
        self._session_now: Session | None = None
        self._pair = enrol.load_pair(settings.data_dir)
        self._contributor: Contributor | None = None
        self._manifest: Manifest | None = None
        self._work: Work | None = None
        self._answers: set[asyncio.Task[None]] = set()
        self._health: HealthServer | None = None

    async def serve(self) -> int:
        """Serves until `stop`; the exit status is 0, or 1 when the aggregator shut this bank out."""
        if self._settings.health_socket:
            self._health = HealthServer(self._settings.health_socket)
            await self._health.start()
        serving, stopping = asyncio.create_task(self._sessions()), asyncio.create_task(self._stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        self._drop_work()
        for task in (serving, stopping, *self._answers):
            task.cancel()
        await asyncio.gather(stopping, *self._answers, return_exceptions=True)
        if self._health:
            await self._health.stop()
        try:
            return await serving
        except asyncio.CancelledError:
            self._log.info("stopped", seat=self._seat)
            return 0

    async def _sessions(self) -> int:
        """One session after another, with a growing pause while the aggregator cannot be reached."""
        pause = _FIRST_PAUSE
        while True:
            try:
                if enrol.expired(self._pair):
                    self._log.warning("certificate expired, enrolling again", seat=self._seat)
                    self._pair = await enrol.enrol_again(self._settings)
                await self._session()
            except Renewed:
                continue
            except grpc.aio.AioRpcError as error:
                status, reason = error.code(), error.details()
                if status is grpc.StatusCode.ABORTED:
                    self._log.warning("fenced: another process holds this seat", seat=self._seat, reason=reason)
                    return 0
                if status in _FINAL or (status is grpc.StatusCode.UNAUTHENTICATED and not enrol.expired(self._pair)):
                    self._log.error("shut out", seat=self._seat, status=status.name, reason=reason)
                    return 1
                pause = _FIRST_PAUSE if self._connected else min(2 * pause, self._settings.retry_limit)
                self._log.warning("aggregator lost", seat=self._seat, status=status.name, reason=reason)
            finally:
                if self._health:
                    await self._health.set_serving(False)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, no secret

    async def _session(self) -> None:
        """One channel and one stream, until it ends."""
        self._connected = False
        join = JoinFolder.read(self._settings.join_dir)
        async with mutual_channel(self._settings.aggregator, join.ca_pem, self._pair) as channel:
            stub = federation_pb2_grpc.FederationServiceStub(channel)
            renewing = asyncio.create_task(self._renew(stub))
            call = stub.Participate(federation_pb2.ParticipateRequest(protocol_version=PROTOCOL_VERSION))
            listening = asyncio.create_task(self._listen(call, stub))
            try:
                await asyncio.wait({renewing, listening}, return_when=asyncio.FIRST_COMPLETED)
                for task in (listening, renewing):
                    if task.done():
                        task.result()
            finally:
                call.cancel()
                # What is being prepared goes on; the next session sends it.
                ending = (renewing, listening, *self._answers)
                for task in ending:
                    task.cancel()
                await asyncio.gather(*ending, return_exceptions=True)

    async def _listen(
        self,
        call: "grpc.aio.UnaryStreamCall[federation_pb2.ParticipateRequest, federation_pb2.ParticipateResponse]",
        stub: "federation_pb2_grpc.FederationServiceAsyncStub",
    ) -> None:
        session: Session | None = None
        async for message in call:
            match message.WhichOneof("message"):
                case "welcome":
                    session = await self._welcomed(message.welcome, stub)
                case "round" if session is not None:
                    self._begin(message.round, session)
                case "run_ended":
                    ended = message.run_ended
                    self._log.info("run ended", seat=self._seat, run=ended.run_id, outcome=ended.outcome)

    async def _welcomed(
        self, welcome: federation_pb2.Welcome, stub: "federation_pb2_grpc.FederationServiceAsyncStub"
    ) -> Session:
        own = read_credential(self._pair.certificate_pem).identity.seat
        if welcome.seat != own:
            raise Invalid(f"a welcome must be for this bank's seat, {own}, got {welcome.seat[:40]!r}")
        self._connected = True
        self._seat = own
        self._log = Log(own)
        manifest = manifest_from_proto(welcome.manifest)
        if self._contributor is None or manifest != self._manifest:
            self._contributor = await asyncio.to_thread(Contributor, self._settings, manifest)
            self._manifest = manifest
        if self._health:
            await self._health.set_serving(True)
        rows = self._contributor.row_count
        self._log.info("joined", seat=welcome.seat, lease=welcome.fencing_number, rows=rows)
        self._spawn(asyncio.to_thread(preload), "import training")
        self._session_now = Session(stub, welcome.fencing_number)
        return self._session_now

    def _begin(self, instruction: federation_pb2.RoundInstruction, session: Session) -> None:
        """Answers a round; one that is being answered already goes on and is sent under the new lease."""
        key = round_key_from_proto(instruction.key)
        if self._work is None or self._work.key != key:
            self._drop_work()
            self._work = Work(key, threading.Event())
        self._spawn(self._answer(instruction, self._work, session), f"answer {key}")

    async def _answer(self, instruction: federation_pb2.RoundInstruction, work: Work, session: Session) -> None:
        """Answers a round, again and again while only the line or the aggregator fails and the deadline is ahead."""
        ends = time.monotonic() + instruction.time_left.ToTimedelta().total_seconds()
        pause = _FIRST_PAUSE
        while not await self._answered(instruction, work, session):
            if time.monotonic() + pause > ends or self._session_now is not session or work.cancelled.is_set():
                return
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, no secret
            pause = min(2 * pause, self._settings.retry_limit)

    async def _answered(self, instruction: federation_pb2.RoundInstruction, work: Work, session: Session) -> bool:
        """One try; False if another may do better."""
        try:
            if work.prepared is None or _failed(work.prepared):
                work.prepared = asyncio.create_task(self._prepare(instruction, work, session))
            released = await asyncio.shield(work.prepared)
            model_sha256 = instruction.model.model_sha256
            requests = released.requests(work.key, session.fencing_number, model_sha256)
            await session.stub.SubmitContribution(requests, timeout=_TIMEOUT)
            self._log.info("contributed", seat=self._seat, round=work.key, kilobytes=len(released.data) // 1024)
        except grpc.aio.AioRpcError as error:
            reason = error.details()
            self._log.warning("not contributed", seat=self._seat, round=work.key, status=error.code().name, why=reason)
            return error.code() not in _TRANSIENT
        except FedfraudError as error:
            self._log.error("not released", seat=self._seat, round=work.key, reason=error)
        except Exception:
            if not work.cancelled.is_set():
                raise
            self._log.info("round is over", seat=self._seat, round=work.key)
        return True

    async def _prepare(self, instruction: federation_pb2.RoundInstruction, work: Work, session: Session) -> Released:
        if self._contributor is None or self._manifest is None:
            raise Invalid("a round must come after the welcome, it came before")
        state = vector = None
        if instruction.HasField("model"):
            state = run_state_from_proto(instruction.run_state, self._manifest)
            vector = await self._vector(instruction.model, session, self._manifest)
            sha256 = model.model_sha256(self._manifest, state, vector)
            if sha256 != instruction.model.model_sha256:
                raise Invalid(
                    f"a model must have the hash it came with, {instruction.model.model_sha256.hex()[:12]}, "
                    f"got {sha256.hex()[:12]}"
                )
        recipe = recipe_from_proto(instruction.recipe)
        train_codec(self._manifest, recipe).check_capacity()
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

    async def _vector(self, reference: model_pb2.ModelReference, session: Session, manifest: Manifest) -> model.Vector:
        request = federation_pb2.GetVectorRequest(vector_sha256=reference.vector_sha256)
        data = bytearray()
        async for response in session.stub.GetVector(request, timeout=_TIMEOUT):
            data += response.chunk
            if len(data) > 4 * manifest.parameter_count:
                break
        if hashlib.sha256(data).digest() != reference.vector_sha256:
            raise Invalid(f"a vector must have the hash it was asked by, {reference.vector_sha256.hex()[:12]}")
        return model.from_bytes(bytes(data), manifest)

    async def _renew(self, stub: "federation_pb2_grpc.FederationServiceAsyncStub") -> None:
        """At half of the certificate's lifetime: a new key, a new certificate, a new stream. No restart."""
        await asyncio.sleep(max(enrol.renewal_due_in(self._pair), 0.0))
        key = new_key()
        request = federation_pb2.RenewCertificateRequest(certificate_request=certificate_request(key))
        response = await stub.RenewCertificate(request, timeout=_TIMEOUT)
        certified = read_credential(response.certificate_pem)
        if (certified.identity.seat, certified.public_key_sha256) != (self._seat, public_key_sha256(key.public_key())):
            raise Invalid(f"a renewed certificate must be for {self._seat} and its new key, got {certified.identity}")
        self._pair = KeyPair(key_pem(key), response.certificate_pem)
        enrol.store_pair(self._settings.data_dir, self._pair)
        self._log.info("certificate renewed", seat=self._seat)
        raise Renewed

    def _drop_work(self) -> None:
        if self._work is not None:
            self._work.cancelled.set()
            if self._work.prepared is not None:
                self._work.prepared.add_done_callback(_failed)  # looked at, so that asyncio does not complain

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._answers.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._answers.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._log.error("a task failed", exc_info=task.exception() or False, seat=self._seat, task=task.get_name())


def _failed(task: asyncio.Task[Released]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
