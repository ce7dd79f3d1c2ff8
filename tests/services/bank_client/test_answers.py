"""A bank's answers to rounds: what fails is said at once and leaves nothing, a closed line is no loss, waits end."""

import asyncio
import errno
import gc
import hashlib
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import grpc
import pytest

from fedfraud.channel import CHUNK_BYTES
from fedfraud.masking_journal import take
from fedfraud.masking_wire import (
    advertisements_to_proto,
    answer_from_proto,
    delivered_to_proto,
    parameters_from_proto,
)
from fedfraud.v1 import federation_pb2, masking_pb2
from fedfraud.wire import RoundKey
from services.bank_client.line import LEAST_PIECE_BYTES
from services.bank_client.release import Released
from services.bank_client.work import Work
from tests.federation.waiting import until
from tests.fedfraud.masked_round import Attempt
from tests.services.bank_client.answering import (
    COUNTERS,
    LOST,
    ME,
    VECTOR,
    Bank,
    Instruction,
    MaskedLine,
    StageInstruction,
    bank,
    evaluate,
    plain,
    stage,
    standardise,
)
from tests.services.bank_client.test_reused import address


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


async def declines_its_words(line: MaskedLine, present: Bank) -> None:
    """It advertises, and declines when its words are asked for."""
    session = present.session()
    present.answers.begin(standardise(), session)
    await until(lambda: line.answers, "the advertisement")
    present.answers.stage(stage(masking_pb2.MASKING_STAGE_MASK), session)
    await until(lambda: len(line.answers) == 2, "the bank declines", 10)
    assert line.kinds() == ["advertisement", LOST]
    await until(lambda: not present.at_work("stage"), "it is done with the stage", 10)


async def test_a_bank_that_cannot_get_the_counters_declines_once_it_is_asked_for_its_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bank(tmp_path) as (line, present):
        line.lacks = True
        await declines_its_words(line, present)
    assert "no such vector here" in reasons(caplog)


async def test_a_bank_whose_training_crashes_declines_and_says_of_what(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    async with bank(tmp_path, pool) as (line, present):
        await declines_its_words(line, present)
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


async def test_an_upload_goes_in_one_message_once_the_line_is_known_to_be_fast(tmp_path: Path) -> None:
    data = bytes(range(256)) * 640
    released = Released(RoundKey("run", 1, 1), b"", b"", data, len(data) // 8, None, "")
    async with bank(tmp_path) as (line, present):
        for allowed in (CHUNK_BYTES, CHUNK_BYTES, LEAST_PIECE_BYTES):
            work = Work(released.key, threading.Event(), time.monotonic() + 60, allowed)
            await present.answers._submit(released, work, present.session())
        chunks = len(data) // LEAST_PIECE_BYTES
        assert line.message_counts == [1 + chunks, 1, 1 + chunks]
        assert [(header.fencing_number, sent) for header, sent in line.heard] == [(n, data) for n in (1, 2, 3)]


async def test_after_an_upload_in_one_message_that_fails_nothing_is_known_of_the_line(tmp_path: Path) -> None:
    released = Released(RoundKey("run", 1, 1), b"", b"", bytes(8), 1, None, "")
    work = Work(released.key, threading.Event(), time.monotonic() + 60, CHUNK_BYTES)
    async with bank(tmp_path) as (line, present):
        present.answers._line.took(CHUNK_BYTES, 0.01)
        session = present.session()
        await present.end_session()
        with pytest.raises(grpc.aio.UsageError):
            await present.answers._submit(released, work, session)
        assert line.heard == []
    assert present.answers._line.piece_bytes(164_000, CHUNK_BYTES) == LEAST_PIECE_BYTES


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
    asked = plain(evaluate()) if aggregation == "plain" else evaluate()
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
    async with bank(tmp_path, aggregation="plain") as (_, present):
        present.answers.begin(plain(standardise()), present.session())
        await until(lambda: caplog.messages.count("disk fails") == 3, "it tries again and again")
        assert sum(type(each) is Released for each in gc.get_objects()) <= 1


async def test_a_contribution_that_the_disk_does_not_sync_never_leaves_however_often_it_is_tried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "contribution.bin", os.fsync

    def fails(descriptor: int) -> None:
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fails)
    async with bank(tmp_path, aggregation="plain") as (_, present):
        present.answers.begin(plain(standardise()), present.session())
        await until(lambda: caplog.messages.count("disk fails") == 3, "it tries again and again")
        assert set(caplog.messages) == {"disk fails"}


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
    async with bank(tmp_path, aggregation="plain") as (line, present):
        line.vector = vector
        present.answers.begin(plain(standardise()), present.session())
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
