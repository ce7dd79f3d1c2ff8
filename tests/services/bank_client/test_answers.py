"""A bank's answers to rounds: what fails is said at once and leaves nothing, a closed line is no loss, waits end."""

import asyncio
import gc
import hashlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from fedfraud import fixed_point, model
from fedfraud.channel import CHUNK_BYTES
from fedfraud.chunks import federation_stub
from fedfraud.fixed_point import Segment
from fedfraud.layout import Layout, count_codec
from fedfraud.manifest import Manifest
from fedfraud.masking_journal import take
from fedfraud.masking_wire import (
    advertisements_to_proto,
    answer_from_proto,
    delivered_to_proto,
    parameters_from_proto,
    parameters_to_proto,
    roster_to_proto,
    task_sha256,
)
from fedfraud.model import RunState, initial_vector
from fedfraud.recipe import Recipe
from fedfraud.transactions import CARDS
from fedfraud.v1 import federation_pb2, federation_pb2_grpc, masking_pb2
from fedfraud.wire import RoundKey, recipe_to_proto, run_state_to_proto, segments_to_proto
from services.bank_client.answers import Answers, Session, Work
from services.bank_client.attempts import Attempts
from services.bank_client.contribution import Contributor
from services.bank_client.examples import Payments
from services.bank_client.line import LEAST_PIECE_BYTES
from services.bank_client.receipts import Receipts
from services.bank_client.release import Released
from services.bank_client.settings import Settings
from tests.federation.waiting import until
from tests.fedfraud.certificates import SmallCa
from tests.fedfraud.masked_round import Attempt, parameters_of, roster_of, signing_key
from tests.services.bank_client.lines import Line
from tests.services.bank_client.test_examples import KEY, PLAN, ROWS
from tests.services.bank_client.test_reused import address

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
    return masked(Instruction(segments=segments_to_proto((Segment.STANDARDISE,))), Segment.STANDARDISE)


def evaluate() -> Instruction:
    """A masked round about a model that the bank has to fetch before it advertises."""
    instruction = Instruction(segments=segments_to_proto((Segment.EVALUATE,)))
    state = RunState((0.0,) * 15, (1.0,) * 15, 85, 17, 1000.0, counters_sha256=hashlib.sha256(COUNTERS).digest())
    instruction.run_state.CopyFrom(run_state_to_proto(state))
    instruction.model.vector_sha256 = hashlib.sha256(VECTOR.tobytes()).digest()
    instruction.model.model_sha256 = model.model_sha256(MANIFEST, state, VECTOR)
    return masked(instruction, Segment.EVALUATE)


def masked(instruction: Instruction, segment: Segment) -> Instruction:
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
        task_sha256=task_sha256(instruction, MANIFEST),
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


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What lives in circles stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def reasons(caplog: pytest.LogCaptureFixture) -> str:
    """All that the bank logged, in one."""
    return " ".join(f"{record.msg} {getattr(record, 'fields', {})}" for record in caplog.records)


async def test_a_bank_that_cannot_get_the_counters_declines_once_it_is_asked_for_its_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bank(tmp_path) as (line, present):
        line.lacks = True
        session = present.session()
        present.answers.begin(standardise(), session)
        await until(lambda: line.answers, "the advertisement")
        present.answers.stage(stage(masking_pb2.MASKING_STAGE_MASK), session)
        await until(lambda: len(line.answers) == 2, "the bank declines", 10)
        assert line.kinds() == ["advertisement", LOST]
        await until(lambda: not present.at_work("stage"), "it is done with the stage", 10)
    assert "no such vector here" in reasons(caplog)


async def test_a_bank_whose_training_crashes_declines_and_says_of_what(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    async with bank(tmp_path, pool) as (line, present):
        session = present.session()
        present.answers.begin(standardise(), session)
        await until(lambda: line.answers, "the advertisement")
        present.answers.stage(stage(masking_pb2.MASKING_STAGE_MASK), session)
        await until(lambda: len(line.answers) == 2, "the bank declines", 10)
        assert line.kinds() == ["advertisement", LOST]
        await until(lambda: not present.at_work("stage"), "it is done with the stage", 10)
    assert "'reason': 'RuntimeError: cannot schedule new futures after shutdown'" in reasons(caplog)


async def test_a_bank_that_cannot_get_the_model_declines_before_it_advertises(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bank(tmp_path) as (line, present):
        line.lacks = True
        present.answers.begin(evaluate(), present.session())
        await until(lambda: line.answers, "the bank declines", 10)
        assert line.kinds() == [LOST]
        await until(lambda: not present.at_work("advertise"), "it is done with the round", 10)
    assert "no such vector here" in reasons(caplog)


async def test_a_bank_that_is_gone_from_the_round_does_not_decline_it(tmp_path: Path) -> None:
    """It may come back to it after a restart."""
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    async with bank(tmp_path, pool) as (line, present):
        session = present.session()
        present.payments.may_say.clear()
        present.answers.begin(standardise(), session)
        await until(present.payments.asked.is_set, "the bank prepares its words")
        present.answers.stage(stage(masking_pb2.MASKING_STAGE_MASK), session)
        await asyncio.sleep(0)  # it waits for the words
        present.answers.drop()
        present.payments.may_say.set()
        await until(lambda: not present.at_work("stage"), "it is done with the stage", 10)
        assert line.kinds() == ["advertisement"]


@pytest.mark.parametrize("told", ["while it prepares", "after that failed"])
async def test_words_that_were_prepared_over_a_closed_channel_are_prepared_anew_in_the_next_session(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, told: str
) -> None:
    async with bank(tmp_path) as (line, present):
        others = Others(standardise())
        first = present.session()
        present.payments.may_say.clear()
        present.answers.begin(others.instruction, first)
        await until(lambda: line.answers, "the advertisement")
        others.step(line.answers[-1])
        await until(present.payments.asked.is_set, "the bank prepares its words")
        present.answers.stage(others.told(), first)
        await until(lambda: len(line.answers) == 2, "the shares")
        others.step(line.answers[-1])
        await present.end_session()
        assert present.prepares()
        if told == "after that failed":
            present.payments.may_say.set()
            await until(lambda: not present.prepares(), "the former session's calls fail")
        present.answers.stage(others.told(), present.session())
        await asyncio.sleep(0)
        present.payments.may_say.set()
        await until(lambda: line.heard, "the masked words", 10)
        await until(lambda: not present.at_work("stage"), "it is done with the stage", 10)
    ((header, data),) = line.heard
    assert (header.fencing_number, len(data)) == (2, 8 * others.attempt.parameters.word_count)
    assert line.kinds() == ["advertisement", "shares"]
    assert "not released" not in reasons(caplog)
    assert ("Channel is closed" in reasons(caplog)) == (told == "while it prepares")


class Others:
    """The rest of the cohort, in the test's hands."""

    def __init__(self, instruction: Instruction) -> None:
        self.instruction = instruction
        self.attempt = Attempt(parameters_from_proto(instruction))
        self.attempt.leave([ME])

    def step(self, answer: masking_pb2.StageAnswer) -> None:
        """This bank's answer goes in, and all others'."""
        take(self.attempt.sum, answer_from_proto(answer, ME))
        self.attempt.step()

    def told(self) -> StageInstruction:
        """What stage share or mask begins with for this bank."""
        total = self.attempt.sum
        if total.stage == 1:
            told = stage(masking_pb2.MASKING_STAGE_SHARE)
            told.advertisements.extend(advertisements_to_proto(total.advertisements))
        else:
            told = stage(masking_pb2.MASKING_STAGE_MASK)
            told.seats.extend(total.delivery(ME).shared)
            told.sealed.extend(delivered_to_proto(total.delivery(ME).sealed))
        return told


@pytest.mark.parametrize("number", [masking_pb2.MASKING_STAGE_SHARE, masking_pb2.MASKING_STAGE_MASK])
@pytest.mark.parametrize("end", ["deadline", "another round"])
async def test_a_stage_does_not_wait_for_an_advertisement_beyond_its_round(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, number: masking_pb2.MaskingStage.ValueType, end: str
) -> None:
    with caplog.at_level(logging.WARNING):
        async with bank(tmp_path) as (line, present):
            line.holding = asyncio.Event()  # the model does not come
            session = present.session()
            present.answers.begin(evaluate(), session)
            await until(lambda: line.asked, "the bank asks for the model")
            present.answers.stage(stage(number, 0.3 if end == "deadline" else 60.0), session)
            await asyncio.sleep(0)
            assert present.at_work("stage")
            if end == "another round":
                present.answers.drop()
            await until(lambda: not present.at_work("stage"), "it waits no more", 5)
            assert line.answers == []
            line.holding.set()
    assert "stage of a round that is over" in caplog.messages


class KnowingLine(MaskedLine):
    """The aggregator's end, which has every contribution already and gives its receipt for the header."""

    async def SubmitContribution(
        self,
        request_iterator: AsyncIterator[federation_pb2.SubmitContributionRequest],
        context: "grpc.aio.ServicerContext[Any, Any]",
    ) -> federation_pb2.SubmitContributionResponse:
        header = (await anext(request_iterator)).header
        self.heard.append((header, b""))
        return federation_pb2.SubmitContributionResponse(receipt=self.receipt(header))


async def test_an_upload_that_is_acknowledged_by_its_header_says_nothing_of_the_line(tmp_path: Path) -> None:
    released = Released(RoundKey("run", 1, 1), b"", b"", bytes(32 << 20), 4 << 20, None, "")
    work = Work(released.key, threading.Event(), time.monotonic() + 60, CHUNK_BYTES)
    async with bank(tmp_path, line=KnowingLine()) as (line, present):
        await present.answers._submit(released, work, present.session())
        assert line.heard
    assert present.answers._line.piece_bytes(164_000, CHUNK_BYTES) == LEAST_PIECE_BYTES


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("vector", [b"", VECTOR.tobytes()[:-4], bytes(VECTOR.nbytes)], ids=["none", "short", "another"])
async def test_a_model_that_was_not_to_be_had_leaves_its_memory_to_the_next_fetch(
    tmp_path: Path, vector: bytes
) -> None:
    async with bank(tmp_path) as (line, present):
        memory = present.answers._memory
        lent = address(memory.lend(VECTOR.nbytes))
        line.vector = vector
        present.answers.begin(evaluate(), present.session())
        await until(lambda: line.answers and not present.at_work("advertise"), "the bank declines", 10)
        assert line.kinds()[0].startswith("declined")
        assert address(memory.lend(VECTOR.nbytes)) == lent


class HeldLine(MaskedLine):
    """The aggregator's end, which has the model and the counters."""

    async def GetVector(
        self, request: federation_pb2.GetVectorRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[federation_pb2.GetVectorResponse]:
        model_asked = request.vector_sha256 == hashlib.sha256(VECTOR.tobytes()).digest()
        yield federation_pb2.GetVectorResponse(chunk=VECTOR.tobytes() if model_asked else COUNTERS)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("aggregation", ["plain", "secure"])
async def test_a_round_that_is_over_unanswered_leaves_its_model_s_memory_to_the_next_fetch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, aggregation: Literal["plain", "secure"]
) -> None:
    (tmp_path / "contribution.bin").mkdir()  # where no file can be written
    asked = evaluate()
    if aggregation == "plain":
        asked.ClearField("masking")
    async with bank(tmp_path, line=HeldLine(), aggregation=aggregation) as (line, present):
        memory, session = present.answers._memory, present.session()
        lent = address(memory.lend(VECTOR.nbytes))
        present.answers.begin(asked, session)
        if aggregation == "secure":
            await until(lambda: line.answers, "the advertisement")
            present.answers.stage(stage(masking_pb2.MASKING_STAGE_MASK), session)
        await until(lambda: caplog.messages.count("disk fails") == 2, "it tries again")
        present.answers.drop()
        busy = ("answer", "stage", "prepare")
        await until(lambda: not any(map(present.at_work, busy)), "it is done with the round", 10)
        assert address(memory.lend(VECTOR.nbytes)) == lent


@pytest.mark.usefixtures("no_collector")
async def test_a_contribution_that_the_disk_does_not_take_is_gone_before_it_is_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "contribution.bin").mkdir()  # where no file can be written
    plain = standardise()
    plain.ClearField("masking")
    async with bank(tmp_path, aggregation="plain") as (_, present):
        present.answers.begin(plain, present.session())
        await until(lambda: caplog.messages.count("disk fails") == 3, "it tries again and again")
        assert sum(type(each) is Released for each in gc.get_objects()) <= 1


class CutLine(MaskedLine):
    """The aggregator's end, from which no vector comes."""

    async def GetVector(
        self, request: federation_pb2.GetVectorRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[federation_pb2.GetVectorResponse]:
        self.asked += 1
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the line is cut")
        yield


async def test_a_round_that_is_over_before_the_next_try_is_not_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bank(tmp_path, line=CutLine()) as (line, present):
        present.answers.begin(evaluate(), present.session())
        await until(lambda: "not contributed" in caplog.messages, "the first try fails")
        present.answers.drop()  # while it waits for the next
        await until(lambda: not present.at_work("advertise"), "it is done with the round", 10)
        assert line.asked == 1


@pytest.mark.parametrize(
    ("vector", "rule"),
    [
        (COUNTERS[:-1], f"a vector of counters must have {len(COUNTERS)} bytes, got {len(COUNTERS) - 1}"),
        (COUNTERS + b"1", f"a vector of counters must have {len(COUNTERS)} bytes, got more"),
        (
            bytes(len(COUNTERS)),
            f"counters must have the hash they were asked by, {hashlib.sha256(COUNTERS).hexdigest()[:12]}, "
            f"got {hashlib.sha256(bytes(len(COUNTERS))).hexdigest()[:12]}",
        ),
    ],
    ids=["short", "long", "others"],
)
async def test_counters_that_are_not_those_asked_for_are_refused_by_rule_and_value(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, vector: bytes, rule: str
) -> None:
    plain = standardise()
    plain.ClearField("masking")
    async with bank(tmp_path, aggregation="plain") as (line, present):
        line.vector = vector
        present.answers.begin(plain, present.session())
        await until(lambda: line.asked and not present.at_work("answer"), "it is done with the round", 10)
    assert rule in reasons(caplog)
    assert not line.heard


class PausingLine(MaskedLine):
    """The aggregator's end, which acknowledges an answer when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.may_acknowledge = asyncio.Event()

    async def AnswerStage(
        self, request: federation_pb2.AnswerStageRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> federation_pb2.AnswerStageResponse:
        response = await super().AnswerStage(request, context)
        await self.may_acknowledge.wait()
        return response


async def test_nothing_is_computed_for_a_round_that_is_over_when_the_bank_has_advertised(tmp_path: Path) -> None:
    line = PausingLine()
    async with bank(tmp_path, line=line) as (_, present):
        present.answers.begin(standardise(), present.session())
        await until(lambda: line.answers, "the advertisement")
        present.answers.drop()
        line.may_acknowledge.set()
        await until(lambda: not present.at_work("advertise"), "it is done with the round", 10)
        assert not present.prepares()
        assert not present.payments.asked.is_set()
