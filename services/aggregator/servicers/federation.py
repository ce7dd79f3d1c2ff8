"""FederationService: what banks call."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC
from typing import Any

import grpc
from cryptography import x509

from fedfraud.chunks import Upload
from fedfraud.contract import contract_named
from fedfraud.errors import Stale
from fedfraud.identity import requested_key
from fedfraud.logs import Log
from fedfraud.manifest import Manifest
from fedfraud.v1 import federation_pb2, federation_pb2_grpc
from fedfraud.wire import PROTOCOL_VERSION, manifest_to_proto
from services.aggregator.conductor import Conductor
from services.aggregator.guard import caller, caller_credential
from services.aggregator.intake import Intake
from services.aggregator.journal import Journal
from services.aggregator.participants import Participants
from services.aggregator.pieces import Pieces
from services.aggregator.servicers.enrolment import Registrar
from services.aggregator.vectors import Vectors
from services.aggregator.writer import Writer

Context = grpc.aio.ServicerContext[Any, Any]


class FederationServicer(federation_pb2_grpc.FederationServiceServicer):
    """See federation.proto."""

    def __init__(
        self,
        manifest: Manifest,
        participants: Participants,
        conductor: Conductor,
        intake: Intake,
        registrar: Registrar,
        journal: Journal,
        journal_certificate_pem: bytes,
        writer: Writer,
        vectors: Vectors,
        log: Log,
    ) -> None:
        self._manifest = manifest
        self._participants = participants
        self._conductor = conductor
        self._intake = intake
        self._registrar = registrar
        self._journal = journal
        self._journal_certificate_pem = journal_certificate_pem
        self._writer = writer
        self._vectors = vectors
        self._log = log
        self._pieces = Pieces()

    async def Participate(  # the name is the proto's
        self, request: federation_pb2.ParticipateRequest, context: Context
    ) -> AsyncIterator[federation_pb2.ParticipateResponse]:
        """See federation.proto."""
        if request.protocol_version != PROTOCOL_VERSION:
            raise Stale(f"the protocol version must be {PROTOCOL_VERSION}, got {request.protocol_version}")
        seat = caller().seat
        await self._check_receipt(seat, request)
        participant = await self._participants.join(seat, caller_credential())
        try:
            yield federation_pb2.ParticipateResponse(
                welcome=federation_pb2.Welcome(
                    seat=seat,
                    fencing_number=participant.fencing_number,
                    manifest=manifest_to_proto(self._manifest),
                    epoch=self._conductor.epoch,
                    journal_certificate_pem=self._journal_certificate_pem,
                    contract_sha256=contract_named(self._manifest.population).sha256,
                )
            )
            self._conductor.welcome_back(seat)
            async for message in participant.messages():
                yield message
        finally:
            await self._participants.leave(participant)

    async def _check_receipt(self, seat: str, request: federation_pb2.ParticipateRequest) -> None:
        """Refuses a bank that holds a receipt which this journal did not give: it was put back to an older state."""
        sequence, head = request.receipt_sequence, request.receipt_head
        if (sequence or head) and not (0 < sequence < 2**63 and await self._journal.holds(sequence, head)):
            reason = (
                f"a journal must hold every receipt it gave: {seat} has one of entry {sequence} with the head "
                f"{head.hex()[:12]}, this journal of {self._journal.head} entries does not"
            )
            self._log.warning("bank turned away: was DATA_DIR put back to an older state?", seat=seat, reason=reason)
            raise Stale(reason)

    async def GetVector(  # type: ignore[override]  # written already, which ChunkMessages takes
        self, request: federation_pb2.GetVectorRequest, context: Context
    ) -> AsyncIterator[bytes]:
        """See federation.proto."""
        self._participants.spoke(caller().seat)
        path = await self._writer.aside(self._vectors.find, request.vector_sha256)
        async with aclosing(self._pieces.messages(path)) as messages:
            async for message in messages:
                yield message

    async def SubmitContribution(
        self, request_iterator: AsyncIterator[Upload], context: Context
    ) -> federation_pb2.SubmitContributionResponse:
        """See federation.proto."""
        receipt = await self._intake.receive(caller_credential(), aiter(request_iterator))
        return federation_pb2.SubmitContributionResponse(receipt=receipt)

    async def AnswerStage(
        self, request: federation_pb2.AnswerStageRequest, context: Context
    ) -> federation_pb2.AnswerStageResponse:
        """See federation.proto."""
        await self._intake.answer_stage(caller_credential(), request)
        return federation_pb2.AnswerStageResponse()

    async def RenewCertificate(
        self, request: federation_pb2.RenewCertificateRequest, context: Context
    ) -> federation_pb2.RenewCertificateResponse:
        """See federation.proto."""
        seat = caller().seat
        self._participants.spoke(seat)
        pem = await self._registrar.renew(seat, requested_key(request.certificate_request))
        response = federation_pb2.RenewCertificateResponse(certificate_pem=pem)
        response.expiry_time.FromDatetime(x509.load_pem_x509_certificate(pem).not_valid_after_utc.astimezone(UTC))
        return response
