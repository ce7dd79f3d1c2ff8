"""Bytes that are no message, and texts that fill one: refused by a status that the contract knows."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from fedfraud.channel import enrolment_channel
from fedfraud.v1 import operation_pb2, operation_pb2_grpc
from tests.federation.hands import aggregator, end_of, pair

GARBAGE = b"\xff\xff\xff"
INVALID = grpc.StatusCode.INVALID_ARGUMENT
SENTENCE = "a request must be a message of the rpc's type, got 3 other bytes"


async def test_bytes_that_are_no_request_are_invalid_and_who_may_not_call_is_told_that_first(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running:
        (_, bank), (_, operator) = await running.enrol("bank"), await running.enrol("operator")
        async with running.channel(bank) as as_bank, running.channel(operator) as as_operator:
            status: Any = as_operator.unary_unary("/fedfraud.v1.OperationService/GetStatus")
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await status(GARBAGE, timeout=20)
            assert (refusal.value.code(), refusal.value.details()) == (INVALID, SENTENCE)
            history = "/fedfraud.v1.HistoryService/WatchHistory"
            watch: Any = as_operator.unary_stream(history)
            assert await end_of(watch(GARBAGE, timeout=20)) == (INVALID, SENTENCE)
            watch = as_bank.unary_stream(history)
            denied, _ = await end_of(watch(GARBAGE, timeout=20))
            assert denied is grpc.StatusCode.PERMISSION_DENIED
        async with enrolment_channel(running.enrolment_address, running.join().ca_pem) as channel:
            enrol: Any = channel.unary_unary("/fedfraud.v1.EnrolmentService/Enrol")
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await enrol(GARBAGE, timeout=20)
            assert (refusal.value.code(), refusal.value.details()) == (INVALID, SENTENCE)


@pytest.mark.parametrize("place", [0, 1], ids=["first", "after the header"])
async def test_an_upload_with_bytes_that_are_no_message_is_refused_and_journalled(tmp_path: Path, place: int) -> None:
    async with pair(tmp_path) as network:
        upload = network.good()[1]
        messages = [message.SerializeToString() for message in upload.messages]
        messages[place] = GARBAGE
        submit: Any = network.banks[1].channel.stream_unary("/fedfraud.v1.FederationService/SubmitContribution")
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await submit(iter(messages), timeout=20)
        assert (refusal.value.code(), refusal.value.details()) == (INVALID, SENTENCE)
        (entry,) = network.aggregator.events("contribution_refused")
        assert (entry.seat, entry.status, entry.reason) == ("bank-02", "INVALID_ARGUMENT", SENTENCE)
        await network.answer()


async def test_a_refusal_of_a_huge_text_fits_into_a_trailer(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running:
        _, operator = await running.enrol("operator")
        async with running.channel(operator) as channel:
            stub = operation_pb2_grpc.OperationServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await stub.StartRun(operation_pb2.StartRunRequest(round_count=1, recipe="é" * 100_000), timeout=20)
            assert refusal.value.code() is INVALID
            assert (refusal.value.details() or "").startswith(
                "recipe must be one of tutorial, default, cards, got 'ééé"
            )
            assert len(refusal.value.details() or "") < 100
