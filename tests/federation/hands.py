"""An aggregator in this process and banks driven by hand: real ports, certificates and bytes, every step the test's."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import grpc
import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedfraud import enrolment, fixed_point
from fedfraud.chain import CheckedReceipt, checked_receipt, journal_key
from fedfraud.channel import CHUNK_BYTES, KeyPair, mutual_channel
from fedfraud.enrolment import JoinFolder
from fedfraud.fixed_point import CountCodec, EvaluateCodec, TrainCodec, Words
from fedfraud.identity import certificate_request, key_pem, new_key, public_key_sha256
from fedfraud.layout import Codec, Layout
from fedfraud.packing import Packing
from fedfraud.standardise_codec import StandardiseCodec
from fedfraud.trade_codec import TradeCodec
from fedfraud.v1 import enrolment_pb2, federation_pb2, federation_pb2_grpc, model_pb2
from fedfraud.wire import PROTOCOL_VERSION, manifest_from_proto, recipe_from_proto, segments_from_proto
from services.aggregator.server import serve
from services.aggregator.settings import Settings
from services.bank_client.trade import Judged, trade_of
from tests.federation import journals

DEADLINE = 20.0
Request = federation_pb2.SubmitContributionRequest
Messages = list[Request] | AsyncIterator[Request]
T = TypeVar("T")


async def soon(awaitable: Awaitable[T]) -> T:
    """Its result, before the deadline."""
    return await asyncio.wait_for(awaitable, DEADLINE)


async def end_of(call: Any) -> tuple[grpc.StatusCode, str]:  # noqa: ANN401  # grpc's calls are generic
    """The status and sentence with which a stream ends; its messages are read, or there is no status."""
    with suppress(grpc.aio.AioRpcError):
        while await soon(call.read()) is not grpc.aio.EOF:
            pass
    return await soon(call.code()), await soon(call.details())


@dataclass
class Aggregator:
    """One that serves in this event loop."""

    settings: Settings
    address: str = ""
    enrolment_address: str = ""

    def join(self, role: str = "bank") -> JoinFolder:
        """The role's join folder."""
        return JoinFolder.read(self.settings.join_dir / role)

    async def enrol(
        self, role: str = "bank", key: ec.EllipticCurvePrivateKey | None = None
    ) -> tuple[enrolment_pb2.EnrolResponse, KeyPair]:
        """Exchanges the role's token for a certificate of the key."""
        key = key or new_key()
        signing = Ed25519PrivateKey.from_private_bytes(public_key_sha256(key.public_key()))  # one a key, for the test
        own = signing if role == "bank" else None
        return await enrolment.enrol(self.enrolment_address, self.join(role), key, own)

    def checked(self, receipt: federation_pb2.Receipt) -> CheckedReceipt:
        """What the receipt says, if this aggregator signed it."""
        certificate = (self.settings.data_dir / "authority" / "journal.pem").read_bytes()
        return checked_receipt(receipt, journal_key(certificate, self.join().ca_pem))

    def channel(self, own: KeyPair) -> grpc.aio.Channel:
        """A channel to the mutual port."""
        return mutual_channel(self.address, self.join().ca_pem, own)

    @asynccontextmanager
    async def bank(self) -> AsyncIterator["HandBank"]:
        """A bank that has enrolled, with an open channel, not joined yet."""
        response, own = await self.enrol()
        async with self.channel(own) as channel:
            yield HandBank(response.seat, own, channel)

    def events(self, kind: str) -> list[Any]:
        """The journal's events of one kind."""
        return journals.events(self.settings.data_dir, kind)


@asynccontextmanager
async def aggregator(home: Path, **settings: object) -> AsyncIterator[Aggregator]:
    """An aggregator on free ports, its data in `home`; no run starts by itself unless `autostart` is set."""
    base: dict[str, Any] = {
        "data_dir": home / "aggregator",
        "join_dir": home / "join",
        "listen": "127.0.0.1:0",
        "enrolment_listen": "127.0.0.1:0",
        "autostart": False,
        "aggregation": "plain",
    }
    running, stop, ready = Aggregator(Settings(**{**base, **settings})), asyncio.Event(), asyncio.Event()

    def serves(port: int, enrolment_port: int) -> None:
        running.address, running.enrolment_address = f"127.0.0.1:{port}", f"127.0.0.1:{enrolment_port}"
        ready.set()

    serving = asyncio.create_task(serve(running.settings, stop, serves))
    try:
        await soon(ready.wait())
        yield running
    finally:
        stop.set()
        await soon(serving)


@dataclass(frozen=True)
class Upload:
    """A contribution as it goes over the wire; a test replaces what is to be wrong."""

    key: model_pb2.RoundKey
    fencing_number: int
    model_sha256: bytes
    data: bytes
    vector_sha256: bytes
    word_count: int
    packing: Packing | None = None
    """None where it is to be masked."""
    disclosure: model_pb2.Disclosure | None = None
    masked_signature: bytes = b""

    def of(self, words: Words) -> "Upload":
        """The same with other words, hashed and counted as they are; packed where it is the right number."""
        packed = self.packing is not None and len(words) == self.packing.word_count
        data = self.packing.pack(words) if self.packing and packed else fixed_point.to_bytes(words)
        return replace(self.sent_as(data), word_count=len(words))

    def sent_as(self, data: bytes) -> "Upload":
        """The same with other bytes, hashed as they are."""
        return replace(self, data=data, vector_sha256=hashlib.sha256(data).digest())

    @property
    def words(self) -> Words:
        """What they are that are added; a copy, to be changed."""
        return self.packing.unpack(self.data) if self.packing else fixed_point.from_bytes(self.data).copy()

    @property
    def header(self) -> Request:
        """The first message."""
        return Request(
            header=federation_pb2.ContributionHeader(
                key=self.key,
                fencing_number=self.fencing_number,
                model_sha256=self.model_sha256,
                vector_sha256=self.vector_sha256,
                word_count=self.word_count,
                disclosure=self.disclosure,
                masked_signature=self.masked_signature,
            )
        )

    @property
    def chunks(self) -> list[Request]:
        """The messages after the header."""
        starts = range(0, len(self.data), CHUNK_BYTES)
        return [Request(chunk=self.data[start : start + CHUNK_BYTES]) for start in starts]

    @property
    def messages(self) -> list[Request]:
        """All of them."""
        return [self.header, *self.chunks]

    @property
    def whole(self) -> list[Request]:
        """All of it in one message."""
        return [Request(whole=federation_pb2.WholeContribution(header=self.header.header, data=self.data))]


def header_of(first: Request) -> federation_pb2.ContributionHeader:
    """Of an upload that begins with this message."""
    return first.whole.header if first.HasField("whole") else first.header


def good_upload(
    welcome: federation_pb2.Welcome, instruction: federation_pb2.RoundInstruction, value: float, weight: int
) -> Upload:
    """What a bank that was welcomed so answers: `weight` rows or as weight, every coordinate of the update `value`."""
    manifest, recipe = manifest_from_proto(welcome.manifest), recipe_from_proto(instruction.recipe)
    layout = Layout(segments_from_proto(list(instruction.segments)), manifest, recipe)
    parts = [_good(codec, value, weight) for codec in layout.codecs.values()]
    packing = None if instruction.HasField("masking") else Packing(layout)
    upload = Upload(instruction.key, welcome.fencing_number, instruction.model.model_sha256, b"", b"", 0, packing)
    return upload.of(np.concatenate(parts))


@dataclass
class HandBank:
    """A bank's identity and its line to the aggregator."""

    seat: str
    own: KeyPair
    channel: grpc.aio.Channel
    welcome: federation_pb2.Welcome = field(default_factory=federation_pb2.Welcome)
    call: Any = None

    @property
    def stub(self) -> "federation_pb2_grpc.FederationServiceAsyncStub":
        """The rpcs."""
        return federation_pb2_grpc.FederationServiceStub(self.channel)

    async def join(self) -> federation_pb2.Welcome:
        """Takes the seat's next lease."""
        self.call = self.stub.Participate(federation_pb2.ParticipateRequest(protocol_version=PROTOCOL_VERSION))
        self.welcome = (await self.next()).welcome
        return self.welcome

    async def next(self) -> federation_pb2.ParticipateResponse:
        """The next message of the stream."""
        message = await soon(self.call.read())
        assert message is not grpc.aio.EOF, await self.call.code()
        return message  # type: ignore[no-any-return]  # grpc's call is generic

    async def round(self) -> federation_pb2.RoundInstruction:
        """The next round that the seat is asked to answer."""
        message = await self.next()
        assert message.WhichOneof("message") == "round", message
        return message.round

    async def ended(self) -> tuple[grpc.StatusCode, str]:
        """How the stream ends, whatever came before."""
        return await end_of(self.call)

    def upload(self, instruction: federation_pb2.RoundInstruction, value: float, weight: int) -> Upload:
        """A good contribution: `weight` rows or as weight, every coordinate of the update `value`."""
        return good_upload(self.welcome, instruction, value, weight)

    async def submit(self, messages: Messages) -> federation_pb2.Receipt:
        """The receipt; raises what the aggregator says against it."""
        requests = iter(messages) if isinstance(messages, list) else messages
        answer = await self.stub.SubmitContribution(requests, timeout=DEADLINE)
        return answer.receipt

    async def renew(self) -> KeyPair:
        """A certificate for a new key of the seat."""
        key = new_key()
        request = federation_pb2.RenewCertificateRequest(certificate_request=certificate_request(key))
        answer = await self.stub.RenewCertificate(request, timeout=DEADLINE)
        return KeyPair(key_pem(key), answer.certificate_pem)


def _good(codec: Codec, value: float, weight: int) -> Words:
    match codec:
        case CountCodec():
            return codec.encode(np.full((codec.bucket_count, codec.day_count, 2), weight))
        case StandardiseCodec():
            labels = np.arange(weight) == 0
            return codec.encode(np.full((weight, len(codec.resolutions)), value), labels)
        case EvaluateCodec():
            return codec.encode(np.array([-1.0, 1.0]), np.array([False, True]))
        case TradeCodec():
            paid = Judged(np.zeros(1, np.int64), np.zeros(1, np.int64), np.full(1, weight), np.ones(1, np.bool_))
            return codec.encode(trade_of(paid, np.ones(1), codec, bytes(32)))
        case TrainCodec():
            return codec.encode(np.full(codec.parameter_count, value, np.float32), weight)


@dataclass
class Pair:
    """A network of two banks whose run has begun: bank-01 weighs 1 and gives 0, bank-02 weighs 3 and gives 4."""

    aggregator: Aggregator
    banks: tuple[HandBank, HandBank]
    instruction: federation_pb2.RoundInstruction

    def good(self) -> tuple[Upload, Upload]:
        """What the two give to the open round."""
        one, two = self.banks
        return one.upload(self.instruction, 0.0, 1), two.upload(self.instruction, 4.0, 3)

    async def answer(self) -> None:
        """Both give what they should; the next round's instruction is awaited."""
        for bank, upload in zip(self.banks, self.good(), strict=True):
            await bank.submit(upload.messages)
        self.instruction, _ = [await bank.round() for bank in self.banks]

    @property
    def models(self) -> list[bytes]:
        """The hashes of the run's models, one a committed round."""
        return [event.model.model_sha256 for event in self.aggregator.events("round_committed")]

    def sum_bytes(self, number: int) -> bytes:
        """The committed sum of the run's round."""
        vectors = self.aggregator.settings.data_dir / "vectors"
        return (vectors / self.instruction.key.run_id / f"{number:05d}-1.sum.u64").read_bytes()


@asynccontextmanager
async def pair(home: Path, **settings: object) -> AsyncIterator[Pair]:
    """Two banks in the run's first round, the preparing one."""
    async with AsyncExitStack() as stack:
        base: dict[str, object] = {"autostart": True, "expected_banks": 2, "quorum": 2}
        running = await stack.enter_async_context(aggregator(home, **{**base, **settings}))
        one, two = [await stack.enter_async_context(running.bank()) for _ in range(2)]
        await one.join()
        await two.join()
        instruction, _ = await one.round(), await two.round()
        yield Pair(running, (one, two), instruction)
