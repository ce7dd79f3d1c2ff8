"""Uploads go in large messages where the line is known to be fast, and in small ones where it is not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from fedfraud.channel import CHUNK_BYTES
from fedfraud.v1 import federation_pb2
from fedfraud.wire import RoundKey
from services.bank_client.line import LEAST_PIECE_BYTES, Line
from services.bank_client.release import Released
from tests.services.bank_client.answering import Bank, MaskedLine, bank

CONTRIBUTION = 164_000
IN_ONE_MESSAGE_AND_IN_MANY = pytest.mark.parametrize("size", [64, CHUNK_BYTES + 8], ids=["one", "many"])


def fast_line() -> Line:
    line = Line()
    line.took(CONTRIBUTION, 0.01)
    return line


def upload(line: Line, present: Bank, size: int, seconds: float = 20.0) -> asyncio.Task[object]:
    """One of so many bytes, which is under way."""
    released, session = Released(RoundKey("run", 1, 1), b"", b"", bytes(size), size // 8, None, ""), present.session()
    return asyncio.create_task(line.upload(session.stub, released, session.fencing_number, CHUNK_BYTES, seconds))


class SilentLine(MaskedLine):
    """The aggregator's end, which hears of an upload and says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()

    async def SubmitContribution(
        self,
        request_iterator: AsyncIterator[federation_pb2.SubmitContributionRequest],
        context: "grpc.aio.ServicerContext[Any, Any]",
    ) -> federation_pb2.SubmitContributionResponse:
        self.began.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody ends this wait")


@pytest.mark.parametrize(("size", "piece"), [(0, 2**14), (4 << 20, 2**14), (16 << 20, 2**16), (300 << 20, 2**20)])
def test_of_a_line_that_nothing_is_known_of_a_large_upload_asks_256_messages_of_a_mebibyte_at_most(
    size: int, piece: int
) -> None:
    assert Line().piece_bytes(size, CHUNK_BYTES) == piece


def test_a_line_that_took_an_upload_in_a_hundredth_of_a_second_takes_the_next_in_one_message() -> None:
    line = Line()
    line.took(CONTRIBUTION, 0.01)
    assert line.piece_bytes(CONTRIBUTION, CHUNK_BYTES) == CHUNK_BYTES > CONTRIBUTION


@pytest.mark.parametrize("size", [CONTRIBUTION, 300 << 20])
def test_no_message_is_larger_than_the_aggregator_allows(size: int) -> None:
    fast, unknown = Line(), Line()
    fast.took(CONTRIBUTION, 0.01)
    assert fast.piece_bytes(size, 80_000) == 80_000
    assert unknown.piece_bytes(size, 80_000) <= 80_000


@pytest.mark.parametrize("allowed", [-1, 0, 1, LEAST_PIECE_BYTES])
def test_an_aggregator_that_allows_next_to_nothing_gets_small_messages(allowed: int) -> None:
    line = Line()
    line.took(CONTRIBUTION, 0.01)
    assert line.piece_bytes(CONTRIBUTION, allowed) == LEAST_PIECE_BYTES


def test_an_aggregator_that_allows_more_than_a_message_may_have_gets_no_larger_ones() -> None:
    line = Line()
    line.took(300 << 20, 0.01)
    assert line.piece_bytes(300 << 20, 2**31 - 1) == CHUNK_BYTES


def test_a_message_takes_a_narrow_line_a_quarter_of_a_second() -> None:
    line = Line()
    line.took(CONTRIBUTION, CONTRIBUTION / 100_000)
    assert line.piece_bytes(CONTRIBUTION, CHUNK_BYTES) == pytest.approx(25_000, abs=1)


def test_a_line_of_64_kbit_a_second_has_messages_that_it_carries_in_two_seconds() -> None:
    line = Line()
    line.took(CONTRIBUTION, CONTRIBUTION / 8_000)
    assert line.piece_bytes(CONTRIBUTION, CHUNK_BYTES) == LEAST_PIECE_BYTES


def test_after_an_upload_that_failed_nothing_is_known_again() -> None:
    line = Line()
    line.took(CONTRIBUTION, 0.01)
    line.failed()
    assert line.piece_bytes(CONTRIBUTION, CHUNK_BYTES) == LEAST_PIECE_BYTES


def test_an_upload_that_took_no_time_at_all_is_none_of_infinite_speed() -> None:
    line = Line()
    line.took(LEAST_PIECE_BYTES + 1, 0.0)
    assert line.piece_bytes(8, CHUNK_BYTES) == CHUNK_BYTES


@pytest.mark.parametrize("size", [8, 2_000, LEAST_PIECE_BYTES])
def test_an_upload_of_a_few_bytes_says_nothing_of_how_many_more_a_line_takes(size: int) -> None:
    unknown, slow = Line(), Line()
    slow.took(CONTRIBUTION, CONTRIBUTION / 100_000)
    for line in (unknown, slow):
        line.took(size, 0.001)
    assert unknown.piece_bytes(CONTRIBUTION, CHUNK_BYTES) == LEAST_PIECE_BYTES
    assert slow.piece_bytes(CONTRIBUTION, CHUNK_BYTES) == pytest.approx(25_000, abs=1)


async def test_an_upload_of_as_many_bytes_as_a_message_may_have_is_one(tmp_path: Path) -> None:
    async with bank(tmp_path) as (line, present):
        await upload(Line(), present, LEAST_PIECE_BYTES)
        await upload(Line(), present, LEAST_PIECE_BYTES + 8)
        assert line.message_counts == [1, 3]


async def test_how_fast_the_line_is_follows_from_an_upload_in_one_message_too(tmp_path: Path) -> None:
    line = Line()
    line.took(CONTRIBUTION, 0.24)
    before = line.piece_bytes(CONTRIBUTION, CHUNK_BYTES)
    assert CONTRIBUTION < before < CHUNK_BYTES
    async with bank(tmp_path) as (aggregator, present):
        await upload(line, present, CONTRIBUTION)
        assert aggregator.message_counts == [1]
    assert line.piece_bytes(CONTRIBUTION, CHUNK_BYTES) != before


@IN_ONE_MESSAGE_AND_IN_MANY
@pytest.mark.parametrize("closes", [False, True], ids=["is cancelled", "loses its channel"])
async def test_after_an_upload_that_ends_half_way_nothing_is_known(tmp_path: Path, size: int, closes: bool) -> None:
    line, silent = fast_line(), SilentLine()
    async with bank(tmp_path, line=silent) as (_, present):
        sending = upload(line, present, size)
        await asyncio.wait_for(silent.began.wait(), 20)
        if closes:
            await present.end_session()
        else:
            sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    assert line.piece_bytes(CONTRIBUTION, CHUNK_BYTES) == LEAST_PIECE_BYTES


@IN_ONE_MESSAGE_AND_IN_MANY
async def test_an_upload_waits_no_longer_than_it_may(tmp_path: Path, size: int) -> None:
    async with bank(tmp_path, line=SilentLine()) as (_, present):
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await asyncio.wait_for(upload(fast_line(), present, size, 0.2), 20)
    assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
