"""The aggregator's end of a bank's line, in the test's hands."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedfraud.chain import next_head, sign
from fedfraud.contract import contract_named
from fedfraud.manifest import Manifest
from fedfraud.v1 import federation_pb2, federation_pb2_grpc, history_pb2
from fedfraud.wire import manifest_to_proto


class Line(federation_pb2_grpc.FederationServiceServicer):
    """What it says, and what it has heard."""

    def __init__(self, journal: tuple[Ed25519PrivateKey, bytes], manifest: Manifest, vector: bytes) -> None:
        self.journal = journal
        self.epoch = 1
        self.manifest = manifest
        self.contract_sha256 = contract_named(manifest.population).sha256
        self.head = b""
        self.requests: list[federation_pb2.ParticipateRequest] = []
        self.says: asyncio.Queue[federation_pb2.RoundInstruction | federation_pb2.RunEnded | None] = asyncio.Queue()
        self.vector = vector
        self.holding: asyncio.Event | None = None
        self.joined = 0
        self.asked = 0
        self.heard: list[tuple[federation_pb2.ContributionHeader, bytes]] = []
        self.message_counts: list[int] = []
        """Of each upload."""

    async def Participate(  # the name is the proto's
        self, request: federation_pb2.ParticipateRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[federation_pb2.ParticipateResponse]:
        self.joined += 1
        welcome = federation_pb2.Welcome(
            seat="bank-01",
            fencing_number=self.joined,
            manifest=manifest_to_proto(self.manifest),
            epoch=self.epoch,
            journal_certificate_pem=self.journal[1],
            contract_sha256=self.contract_sha256,
        )
        self.requests.append(request)
        yield federation_pb2.ParticipateResponse(welcome=welcome)
        while (told := await self.says.get()) is not None:
            if isinstance(told, federation_pb2.RunEnded):
                yield federation_pb2.ParticipateResponse(run_ended=told)
            else:
                yield federation_pb2.ParticipateResponse(round=told)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the line is cut")

    async def GetVector(
        self, request: federation_pb2.GetVectorRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[federation_pb2.GetVectorResponse]:
        self.asked += 1
        if self.holding is not None:
            await self.holding.wait()
        yield federation_pb2.GetVectorResponse(chunk=self.vector)

    async def SubmitContribution(
        self,
        request_iterator: AsyncIterator[federation_pb2.SubmitContributionRequest],
        context: "grpc.aio.ServicerContext[Any, Any]",
    ) -> federation_pb2.SubmitContributionResponse:
        messages = [message async for message in request_iterator]
        self.message_counts.append(len(messages))
        whole = messages[0].whole
        header = whole.header if messages[0].HasField("whole") else messages[0].header
        self.heard.append((header, whole.data or b"".join(message.chunk for message in messages[1:])))
        return federation_pb2.SubmitContributionResponse(receipt=self.receipt(header))

    def receipt(self, header: federation_pb2.ContributionHeader) -> federation_pb2.Receipt:
        """As a faultless aggregator signs it; its journal has nothing but contributions."""
        entry = history_pb2.Entry(sequence=len(self.heard))
        accepted = entry.contribution_accepted
        accepted.key.CopyFrom(header.key)
        accepted.seat, accepted.vector_sha256 = "bank-01", header.vector_sha256
        previous, line = self.head, entry.SerializeToString()
        self.head = next_head(previous, line)
        return federation_pb2.Receipt(entry=line, previous_head=previous, signature=sign(self.journal[0], self.head))

    async def AnswerStage(
        self, request: federation_pb2.AnswerStageRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> federation_pb2.AnswerStageResponse:
        raise AssertionError("nothing here is masked")

    async def RenewCertificate(
        self, request: federation_pb2.RenewCertificateRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> federation_pb2.RenewCertificateResponse:
        raise AssertionError("a certificate of an hour is not renewed in a test")
