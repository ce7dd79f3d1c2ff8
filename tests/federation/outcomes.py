"""What becomes of uploads to a network of two banks: one of bank-02 is refused, or both count and nothing else."""

import grpc
import pytest

from fedfraud import fixed_point
from fedfraud.v1 import model_pb2
from tests.federation.hands import Messages, Pair, Upload, header_of

INVALID = grpc.StatusCode.INVALID_ARGUMENT
STALE = grpc.StatusCode.FAILED_PRECONDITION


async def refused(network: Pair, messages: Messages) -> tuple[grpc.StatusCode, str]:
    """What bank-02 is told; the journal says the same."""
    before = len(network.aggregator.events("contribution_refused"))
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await network.banks[1].submit(messages)
    status, sentence = refusal.value.code(), refusal.value.details() or ""
    entry = network.aggregator.events("contribution_refused")[before]
    assert (entry.seat, entry.status, entry.reason) == ("bank-02", status.name, sentence)
    if isinstance(messages, list):
        assert entry.key == (header_of(messages[0]).key if messages else model_pb2.RoundKey())
    return status, sentence


async def commits(network: Pair, number: int) -> None:
    """Both banks' good contributions, and nothing else, make the round's sum."""
    good = network.good()
    await network.answer()
    assert network.sum_bytes(number) == fixed_point.to_bytes(good[0].words + good[1].words)


async def closes(network: Pair, one: Upload, two: Upload) -> None:
    """With bank-01's the training round is over, and these two make its sum."""
    await network.banks[0].submit(one.messages)
    await network.banks[0].round()
    assert network.sum_bytes(2) == fixed_point.to_bytes(one.words + two.words)
