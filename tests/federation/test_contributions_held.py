"""What is left in the aggregator's memory of an upload that is over: nothing, and not only once the collector came."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from fedfraud import chunks
from tests.federation.hands import Messages, Request, Upload, pair
from tests.federation.outcomes import commits
from tests.federation.waiting import until

pytestmark = pytest.mark.usefixtures("arriving")


@pytest.fixture
def arrived(monkeypatch: pytest.MonkeyPatch) -> list["weakref.ref[memoryview]"]:
    """The bytes of each message that the aggregator has read."""
    references: list[weakref.ref[memoryview]] = []
    read = chunks.read_upload

    def noting(message: bytes) -> chunks.Upload:
        upload = read(message)
        data = upload.data if isinstance(upload, chunks.Whole) else upload
        if isinstance(data, memoryview):
            references.append(weakref.ref(data))
        return upload

    monkeypatch.setattr(chunks, "read_upload", noting)
    return references


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No cycle is broken by chance."""
    gc.disable()
    yield
    gc.enable()


async def stalls(upload: Upload) -> AsyncIterator[Request]:
    yield upload.header
    yield Request(chunk=upload.data[:8])
    await asyncio.Event().wait()


CASES: dict[str, Callable[[Upload], Messages]] = {
    "a chunk first": lambda upload: upload.chunks,
    "a stale header first": lambda upload: replace(upload, fencing_number=0).messages,
    "another hash": lambda upload: replace(upload, vector_sha256=bytes(32)).messages,
    "too much": lambda upload: [*upload.messages, Request(chunk=upload.data)],
    "a header in the middle": lambda upload: [*upload.messages, upload.header],
    "stalled": stalls,
    "whole, another hash": lambda upload: replace(upload, vector_sha256=bytes(32)).whole,
    "whole, a stale lease": lambda upload: replace(upload, fencing_number=0).whole,
    "whole, and more": lambda upload: [*upload.whole, Request(chunk=b"more")],
}


async def none_left(arrived: list["weakref.ref[memoryview]"], least: int) -> None:
    await until(lambda: len(arrived) >= least, f"{least} messages have arrived")
    await until(lambda: not any(reference() for reference in arrived), "none of the messages is left")


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("spoilt", CASES.values(), ids=CASES.keys())
async def test_nothing_is_left_of_a_refused_upload(
    tmp_path: Path, arrived: list["weakref.ref[memoryview]"], spoilt: Callable[[Upload], Messages]
) -> None:
    async with pair(tmp_path, stall_timeout=0.3 if spoilt is stalls else 10.0) as network:
        await network.answer()
        arrived.clear()
        with pytest.raises(grpc.aio.AioRpcError):
            await network.banks[1].submit(spoilt(network.good()[1]))
        await none_left(arrived, 0)
        await commits(network, 2)
        await none_left(arrived, 2)


@pytest.mark.usefixtures("uncollected")
async def test_nothing_is_left_of_an_upload_that_counts_or_counts_already(
    tmp_path: Path, arrived: list["weakref.ref[memoryview]"]
) -> None:
    async with pair(tmp_path) as network:
        upload = network.good()[1]
        for messages in (upload.whole, upload.whole, upload.messages):
            await network.banks[1].submit(messages)
        await none_left(arrived, 2)


@pytest.mark.usefixtures("uncollected")
async def test_nothing_is_left_of_an_upload_whose_caller_goes(
    tmp_path: Path, arrived: list["weakref.ref[memoryview]"]
) -> None:
    async with pair(tmp_path) as network:
        await network.answer()
        arrived.clear()
        uploading = asyncio.ensure_future(network.banks[1].submit(stalls(network.good()[1])))
        await until(lambda: arrived, "the first bytes have arrived")
        uploading.cancel()
        with suppress(asyncio.CancelledError):
            await uploading
        await none_left(arrived, 1)
        await commits(network, 2)
