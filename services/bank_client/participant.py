"""The bank's side of the federation: joins, hears of rounds, renews, and comes back when the line is cut."""

import asyncio
import fcntl
import random
from concurrent.futures import Executor
from pathlib import Path
from typing import BinaryIO

import grpc

from fedfraud.channel import KeyPair, mutual_channel
from fedfraud.chunks import federation_stub
from fedfraud.contract import Contract, contract_named
from fedfraud.enrolment import JoinFolder
from fedfraud.errors import Invalid, Misconfigured, Stale
from fedfraud.feature_plan import FeaturePlan, plan_of
from fedfraud.health import HealthServer
from fedfraud.identity import certificate_request, key_pem, new_key, public_key_sha256, read_credential
from fedfraud.logs import Log
from fedfraud.manifest import Manifest
from fedfraud.transactions import SCHEMAS
from fedfraud.v1 import federation_pb2, federation_pb2_grpc
from fedfraud.wire import (
    PROTOCOL_VERSION,
    manifest_from_proto,
)
from services.bank_client import enrol, noise, own_data
from services.bank_client.answers import Answers, Session
from services.bank_client.attempts import Attempts
from services.bank_client.contribution import Contributor, preload
from services.bank_client.examples import Dataset, FeatureTable, Payments
from services.bank_client.merchant_key import fingerprint, read_merchant_key
from services.bank_client.receipts import Receipts
from services.bank_client.settings import Settings

_TIMEOUT = 30.0
_FIRST_PAUSE = 0.2
_FINAL = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNIMPLEMENTED)


class Renewed(Exception):
    """The certificate was renewed: the stream is to be opened again with the new one."""


class BankClient:
    """One bank, until it is told to stop, fenced or shut out. `training` is where it computes contributions: what a
    process has for blocking work, unless it is given a pool to share with other banks."""

    def __init__(self, settings: Settings, stop: asyncio.Event, training: Executor | None = None) -> None:
        self._settings = settings
        self._stop = stop
        self._training = training
        self._pair = enrol.load_pair(settings.data_dir)
        self._seat = read_credential(self._pair.certificate_pem).identity.seat
        self._log = Log(self._seat)
        self._connected = False
        self._preloaded = False
        self._answers: Answers | None = None
        self._receipts = Receipts(settings.data_dir)
        self._health: HealthServer | None = None
        self._contract: Contract | None = None
        self._dataset: Dataset | None = None
        self._plan: FeaturePlan | None = None

    async def serve(self) -> int:
        """Serves until `stop`; the exit status is 0, or 1 when the aggregator shut this bank out."""
        lock = _locked(self._settings.data_dir)
        try:
            return await self._serve()
        finally:
            lock.close()

    async def _serve(self) -> int:
        if self._settings.health_socket:
            self._health = HealthServer(self._settings.health_socket)
            await self._health.start()
        serving, stopping = asyncio.create_task(self._sessions()), asyncio.create_task(self._stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if self._answers:
            await self._answers.finish()
        for task in (serving, stopping):
            task.cancel()
        await asyncio.gather(serving, stopping, return_exceptions=True)
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
        self._dataset = await asyncio.to_thread(self._checked)  # what does not pass never joins
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

    def _checked(self) -> Dataset:
        """The bank's rows, checked against the contract of the population that it enrolled for."""
        self._contract = contract_named(enrol.load_enrolment(self._settings.data_dir).population)
        own = own_data.load(self._settings, self._contract)
        own.report.findings.refuse()
        self._log.info("data passed", seat=self._seat, contract=self._contract.name, **own.report.timing)
        if own.payments is None:
            return FeatureTable(own.table())
        self._plan = plan_of(self._contract.name, self._settings.first_day)
        if self._plan is None:
            raise Misconfigured(f"payments must have a feature plan, {self._contract.name} has none")
        data_dir, scale = self._settings.data_dir, self._settings.count_noise
        secret = noise.own_secret(data_dir) if scale else b""
        key = read_merchant_key(data_dir / self._settings.merchant_key)
        self._log.info("merchant key read: every bank's has this fingerprint", fingerprint=fingerprint(key))
        return Payments(own.payments, self._plan, key, scale, secret)

    async def _session(self) -> None:
        """One channel and one stream, until it ends."""
        self._connected = False
        join = JoinFolder.read(self._settings.join_dir)
        async with mutual_channel(self._settings.aggregator, join.ca_pem, self._pair) as channel:
            stub = federation_stub(channel)
            await asyncio.to_thread(self._receipts.load, join.ca_pem)
            newest = self._receipts.newest
            request = federation_pb2.ParticipateRequest(
                protocol_version=PROTOCOL_VERSION,
                receipt_sequence=newest.sequence if newest else 0,
                receipt_head=newest.head if newest else b"",
            )
            call = stub.Participate(request)
            work = (self._renew(stub), self._listen(call, stub, join.ca_pem))
            tasks = [asyncio.create_task(each) for each in work]
            try:
                done = (await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))[0]
                while done:
                    done.pop().result()
            finally:
                call.cancel()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                if self._answers:
                    await self._answers.hang_up()
                # A task holds its exception, that one this frame, and the frame the task: in such a circle the channel
                # would live on after it was closed, and gRPC would go on trying to connect it.
                del task, tasks

    async def _listen(
        self,
        call: "grpc.aio.UnaryStreamCall[federation_pb2.ParticipateRequest, federation_pb2.ParticipateResponse]",
        stub: "federation_pb2_grpc.FederationServiceAsyncStub",
        ca_pem: bytes,
    ) -> None:
        session: Session | None = None
        async for message in call:
            match message.WhichOneof("message"):
                case "welcome":
                    self._answers = await self._welcomed(message.welcome, ca_pem)
                    session = Session(stub, message.welcome.fencing_number)
                case "round" if session and self._answers:
                    self._answers.begin(message.round, session)
                    if not self._preloaded:
                        # Not before: it takes seconds of a core that the banks which have not joined yet need more.
                        self._preloaded = True
                        self._answers.spawn(asyncio.to_thread(preload), "import training")
                case "stage" if session and self._answers:
                    self._answers.stage(message.stage, session)
                case "run_ended":
                    ended = message.run_ended
                    if self._answers:
                        await self._answers.forget(ended.run_id)
                    self._log.info("run ended", seat=self._seat, run=ended.run_id, outcome=ended.outcome)

    async def _welcomed(self, welcome: federation_pb2.Welcome, ca_pem: bytes) -> Answers:
        """Checks that the welcome is ours and from a journal that was not put back; reads the dataset when it is the
        first. From then on there is one Answers, and one Attempts: two would not know what the other has opened."""
        if welcome.seat != self._seat:
            raise Invalid(f"a welcome must be for this bank's seat, {self._seat}, got {welcome.seat[:40]!r}")
        certificate, epoch = welcome.journal_certificate_pem, welcome.epoch
        await asyncio.to_thread(self._receipts.trust, certificate, ca_pem, epoch)
        self._connected = True
        manifest, answers = manifest_from_proto(welcome.manifest), self._answers
        if answers is None:
            _check_schema(manifest, self._plan)
            assert self._dataset is not None  # noqa: S101  # for the type checker: it was read before the first session
            self._check_contract(manifest.population, welcome.contract_sha256)
            contributor = await asyncio.to_thread(Contributor, self._settings, manifest, self._dataset)
            key = enrol.load_signing_key(self._settings.data_dir)
            attempts = await asyncio.to_thread(Attempts, self._settings, self._seat, key, ca_pem)
            answers = Answers(self._seat, manifest, contributor, self._receipts, attempts, self._training)
        elif manifest != answers.manifest:
            raise Stale(f"a manifest must stay what {self._seat} joined with: to join with another, start it again")
        if self._health:
            await self._health.set_serving(True)
        self._log.info("joined", seat=self._seat, lease=welcome.fencing_number, rows=answers.row_count)
        return answers

    def _check_contract(self, name: str, sha256: bytes) -> None:
        """The contract that the rows were checked against is the one that the others' rows were."""
        own = self._contract
        if own is None or name != own.name:
            raise Stale(
                f"a manifest must be of the contract that this bank enrolled for, {own and own.name}, got {name}"
            )
        if sha256 != own.sha256:
            raise Stale(
                f"the contract {name} must have the hash that this bank knows, {own.sha256.hex()[:12]}, "
                f"got {sha256.hex()[:12] or 'none'}: the aggregator's or the bank's version is another"
            )

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


def _check_schema(manifest: Manifest, plan: FeaturePlan | None) -> None:
    """A manifest cannot make other columns of the bank's file into features, nor round them otherwise, nor choose the
    days that are counted."""
    own = SCHEMAS.get(manifest.population)
    if own is None:
        raise Stale(f"a population must be one of {', '.join(SCHEMAS)}, got {manifest.population[:40]!r}")
    if manifest.features != own:
        raise Stale(f"a manifest must have the features of {manifest.population} as this bank knows them, got others")
    if manifest.feature_plan != plan:
        told = manifest.feature_plan
        raise Stale(
            f"a feature plan must be the one that this bank knows, {plan.sha256.hex()[:12] if plan else 'none'} from "
            f"{plan.first_day if plan else '-'}, got {told.sha256.hex()[:12] if told else 'none'} from "
            f"{told.first_day if told else '-'}: FIRST_DAY must be the same at the aggregator and at every bank"
        )


def _locked(folder: Path) -> BinaryIO:
    """The folder's lock, held until it is closed: two processes on one folder would answer one round differently."""
    file = (folder / "lock").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise Misconfigured(f"a bank's folder must be of one process alone: {error.strerror}, {folder}") from error
    return file
