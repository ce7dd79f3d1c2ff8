"""A bank that answers rounds in a test's event loop: what it is asked, and the aggregator's end of its line."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from fedfraud import fixed_point, model
from fedfraud.chunks import federation_stub
from fedfraud.fixed_point import Segment
from fedfraud.layout import Layout, count_codec
from fedfraud.manifest import Manifest
from fedfraud.masking_wire import parameters_to_proto, roster_to_proto, task_sha256
from fedfraud.model import RunState, initial_vector
from fedfraud.recipe import Recipe
from fedfraud.transactions import CARDS
from fedfraud.v1 import federation_pb2, federation_pb2_grpc, masking_pb2
from fedfraud.wire import recipe_to_proto, run_state_to_proto, segments_to_proto
from services.bank_client.answers import Answers, Session
from services.bank_client.attempts import Attempts
from services.bank_client.contribution import Contributor
from services.bank_client.examples import Payments
from services.bank_client.receipts import Receipts
from services.bank_client.settings import Settings
from tests.fedfraud.certificates import SmallCa
from tests.fedfraud.masked_round import parameters_of, roster_of, signing_key
from tests.services.bank_client.lines import Line
from tests.services.bank_client.test_examples import KEY, PLAN, ROWS

ME = "bank-01"
CA = SmallCa()
FEDERATION = x509.load_pem_x509_certificate(CA.pem).fingerprint(hashes.SHA256())
MANIFEST = Manifest("cards", CARDS, (4,), feature_plan=PLAN)
VECTOR = initial_vector(MANIFEST, 7)
RECIPE = Recipe("r", 0.1, 16)
COUNTERS = fixed_point.to_bytes(count_codec(MANIFEST).encode(Payments(ROWS, PLAN, KEY).counts()))
Instruction = federation_pb2.RoundInstruction
StageInstruction = federation_pb2.StageInstruction


def standardise() -> Instruction:
    """A masked round whose features follow from counters that the bank has to fetch."""
    return masked(Instruction(segments=segments_to_proto((Segment.STANDARDISE,))), Segment.STANDARDISE, None)


def evaluate() -> Instruction:
    """A masked round about a model that the bank has to fetch before it advertises."""
    instruction = Instruction(segments=segments_to_proto((Segment.EVALUATE,)))
    state = RunState((0.0,) * 15, (1.0,) * 15, 85, 17, 1000.0, counters_sha256=hashlib.sha256(COUNTERS).digest())
    instruction.run_state.CopyFrom(run_state_to_proto(state))
    instruction.model.vector_sha256 = hashlib.sha256(VECTOR.tobytes()).digest()
    instruction.model.model_sha256 = model.model_sha256(MANIFEST, state, VECTOR)
    return masked(instruction, Segment.EVALUATE, state)


def plain(instruction: Instruction) -> Instruction:
    """The same without masks."""
    instruction.ClearField("masking")
    return instruction


def masked(instruction: Instruction, segment: Segment, state: RunState | None) -> Instruction:
    instruction.key.run_id, instruction.key.round, instruction.key.attempt = "run", 1, 1
    instruction.recipe.CopyFrom(recipe_to_proto(RECIPE))
    instruction.round_count = 1
    instruction.counters_sha256 = hashlib.sha256(COUNTERS).digest()
    instruction.time_left.FromSeconds(60)
    parameters = parameters_of(
        4,
        federation_id=FEDERATION,
        run_id="run",
        attempt=1,
        model_sha256=instruction.model.model_sha256,
        task_sha256=task_sha256(instruction, MANIFEST, RECIPE, state),
        word_count=Layout((segment,), MANIFEST, RECIPE).length,
        segments=(segment.value,),
    )
    instruction.masking.CopyFrom(parameters_to_proto(parameters))
    instruction.roster.CopyFrom(roster_to_proto(roster_of(4)))
    return instruction


def stage(number: masking_pb2.MaskingStage.ValueType, seconds: float = 60.0) -> StageInstruction:
    told = StageInstruction(stage=number)
    told.key.run_id, told.key.round, told.key.attempt = "run", 1, 1
    told.time_left.FromMilliseconds(round(1000 * seconds))
    return told


class MaskedLine(Line):
    """The aggregator's end, which takes answers to stages and may not have a vector."""

    def __init__(self) -> None:
        super().__init__(CA.journal_pair(), MANIFEST, COUNTERS)
        self.lacks = False
        self.answers: list[masking_pb2.StageAnswer] = []

    async def GetVector(
        self, request: federation_pb2.GetVectorRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[federation_pb2.GetVectorResponse]:
        if self.lacks:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such vector here")
        async for response in super().GetVector(request, context):
            yield response

    async def AnswerStage(
        self, request: federation_pb2.AnswerStageRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> federation_pb2.AnswerStageResponse:
        self.answers.append(request.answer)
        return federation_pb2.AnswerStageResponse()

    def kinds(self) -> list[str]:
        """What the bank has answered, in order; a refusal with its reason."""
        said = [(answer.WhichOneof("answer"), answer.declined.reason) for answer in self.answers]
        return [f"{kind} {reason}" if kind == "declined" else str(kind) for kind, reason in said]


LOST = f"declined {masking_pb2.DECLINE_REASON_LOST}"


class SlowPayments(Payments):
    """They say whether they know counters when the test lets them."""

    def __init__(self) -> None:
        super().__init__(ROWS, PLAN, KEY)
        self.asked, self.may_say = threading.Event(), threading.Event()
        self.may_say.set()

    def knows(self, counters_sha256: bytes) -> bool:
        self.asked.set()
        self.may_say.wait(20)
        return super().knows(counters_sha256)


class Bank:
    """A bank's answers, and the address of the other end of its line."""

    def __init__(self, settings: Settings, line: MaskedLine, port: int, training: Executor | None) -> None:
        receipts, self.payments = Receipts(settings.data_dir), SlowPayments()
        receipts.trust(line.journal[1], CA.pem, line.epoch)
        contributor = Contributor(settings, MANIFEST, self.payments)
        attempts = Attempts(settings, ME, signing_key(ME), CA.pem)
        self.answers = Answers(ME, MANIFEST, contributor, receipts, attempts, training)
        self._port, self._channels = port, list[grpc.aio.Channel]()

    def session(self) -> Session:
        """On a channel of its own."""
        self._channels.append(grpc.aio.insecure_channel(f"127.0.0.1:{self._port}"))
        return Session(federation_stub(self._channels[-1]), len(self._channels))

    async def end_session(self) -> None:
        """As when the line is cut: nothing more is sent under it, and its channel closes."""
        await self.answers.hang_up()
        for channel in self._channels:
            await channel.close()

    def at_work(self, name: str) -> bool:
        """Whether a task whose name begins so goes on."""
        return any(task.get_name().startswith(name) for task in asyncio.all_tasks())

    def prepares(self) -> bool:
        """Whether the bank is computing its words."""
        return self.at_work("prepare")


@asynccontextmanager
async def bank(
    folder: Path,
    training: Executor | None = None,
    line: MaskedLine | None = None,
    aggregation: Literal["plain", "secure"] = "secure",
) -> AsyncIterator[tuple[MaskedLine, Bank]]:
    line, server = line or MaskedLine(), grpc.aio.server()
    federation_pb2_grpc.add_FederationServiceServicer_to_server(line, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    present = Bank(Settings(data_dir=folder, aggregation=aggregation), line, port, training)
    try:
        yield line, present
    finally:
        present.payments.may_say.set()
        present.answers.drop()
        await present.end_session()
        await server.stop(grace=0)
