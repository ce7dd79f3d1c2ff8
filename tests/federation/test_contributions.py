"""Contributions over the wire: each counts once, and one that is late, doubled or stalled leaves the sum unharmed."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest

import fedfraud.channel
from fedfraud.identity import make_folder
from fedfraud.v1 import federation_pb2
from fedfraud.wire import round_key_from_proto
from tests.federation.hands import DEADLINE, HandBank, Pair, Request, Upload, aggregator, pair
from tests.federation.outcomes import STALE, closes, commits, refused
from tests.federation.waiting import until

pytestmark = pytest.mark.usefixtures("arriving")


async def test_two_good_contributions_move_the_model_by_their_weighted_mean(tmp_path: Path) -> None:
    async with pair(tmp_path) as network:
        await network.answer()
        before = await vector(network)
        await network.answer()
        after = await vector(network)
    assert np.array_equal(after, before + np.float32(3))  # (1 * 0 + 3 * 4) / 4


async def test_a_short_model_comes_with_its_instruction(tmp_path: Path) -> None:
    async with pair(tmp_path) as network:
        await network.answer()
        told, asked_for = network.instruction.vector, await vector(network)
        assert told == asked_for.tobytes()
        assert hashlib.sha256(told).digest() == network.instruction.model.vector_sha256


async def vector(network: Pair) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    request = federation_pb2.GetVectorRequest(vector_sha256=network.instruction.model.vector_sha256)
    chunks = [response.chunk async for response in network.banks[0].stub.GetVector(request, timeout=20)]
    return np.frombuffer(b"".join(chunks), "<f4")


async def test_the_same_contribution_again_gets_its_receipt_again_and_counts_once(tmp_path: Path) -> None:
    async with pair(tmp_path) as network:
        await network.answer()
        one, two = network.good()
        first = await network.banks[1].submit(two.messages)
        checked = network.aggregator.checked(first)
        assert (checked.seat, checked.vector_sha256) == ("bank-02", hashlib.sha256(two.data).digest())
        assert await network.banks[1].submit(two.messages) == first
        accepted = network.aggregator.events("contribution_accepted")
        assert [entry.seat for entry in accepted[2:]] == ["bank-02"]
        await closes(network, one, two)


async def test_a_contribution_in_one_message_is_the_same_one(tmp_path: Path) -> None:
    async with pair(tmp_path) as network:
        await network.answer()
        one, two = network.good()
        first = await network.banks[1].submit(two.whole)
        assert network.aggregator.checked(first).vector_sha256 == hashlib.sha256(two.data).digest()
        assert await network.banks[1].submit(two.messages) == first
        assert await network.banks[1].submit(two.whole) == first
        await closes(network, one, two)


async def test_a_receipt_names_the_journal_entry_that_holds_the_acceptance(tmp_path: Path) -> None:
    async with pair(tmp_path) as network:
        receipt = await network.banks[1].submit(network.good()[1].messages)
        (accepted,) = network.aggregator.events("contribution_accepted")
        assert accepted.key == network.instruction.key
        assert accepted.size_bytes == 8 * (30 * 2 * 4 + 2)
        checked = network.aggregator.checked(receipt)
        assert checked.key == round_key_from_proto(accepted.key)
        assert checked.sequence == 8  # after the start, two certificates, two leases, the run and the round


async def test_a_round_that_has_closed_gives_its_receipts_again_and_takes_nothing_new(tmp_path: Path) -> None:
    async with pair(tmp_path) as network:
        former = network.good()
        receipts = [await bank.submit(upload.messages) for bank, upload in zip(network.banks, former, strict=True)]
        network.instruction, _ = [await bank.round() for bank in network.banks]
        assert await network.banks[0].submit(former[0].messages) == receipts[0]
        other = former[1].of(former[1].words + np.uint64(1))
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await network.banks[1].submit(other.messages)
        assert refusal.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        accepted = network.aggregator.events("contribution_accepted")
        assert len(accepted) == 2


async def test_a_second_different_contribution_is_refused_and_the_first_counts(tmp_path: Path) -> None:
    async with pair(tmp_path) as network:
        await network.answer()
        one, two = network.good()
        await network.banks[1].submit(two.messages)
        other = network.banks[1].upload(network.instruction, 1.0, 3)
        status, sentence = await refused(network, other.messages)
        assert status is grpc.StatusCode.ALREADY_EXISTS
        given, got = two.vector_sha256.hex()[:12], other.vector_sha256.hex()[:12]
        assert sentence == f"a seat contributes once a round: bank-02 gave {given}, got {got}"
        await closes(network, one, two)


async def test_of_two_contributions_at_once_one_counts(tmp_path: Path) -> None:
    async with pair(tmp_path) as network:
        await network.answer()
        bank, (one, two) = network.banks[1], network.good()
        other = bank.upload(network.instruction, 1.0, 3)
        ends = await asyncio.gather(bank.submit(two.messages), bank.submit(other.messages), return_exceptions=True)
        (refusal,) = [end for end in ends if isinstance(end, grpc.aio.AioRpcError)]
        assert refusal.code() is grpc.StatusCode.ALREADY_EXISTS
        counted = two if ends[1] is refusal else other
        await closes(network, one, counted)


async def test_a_bank_that_joined_after_the_round_opened_is_not_in_its_cohort(tmp_path: Path) -> None:
    async with pair(tmp_path) as network, network.aggregator.bank() as third:
        await network.answer()
        await third.join()
        upload = third.upload(network.instruction, 1.0, 1)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await third.submit(upload.messages)
        assert refusal.value.code() is STALE
        assert "a contribution must come from the cohort of round " in (refusal.value.details() or "")
        assert (refusal.value.details() or "").endswith("/2/1, got one from bank-03")
        await commits(network, 2)


@pytest.mark.parametrize("sent", [0, 1, 2], ids=["nothing", "the header", "half of the bytes"])
async def test_a_stalled_upload_is_refused(tmp_path: Path, sent: int) -> None:
    async with pair(tmp_path, stall_timeout=0.3) as network:
        await network.answer()
        upload = network.good()[1]

        async def messages() -> AsyncIterator[Request]:
            for message in [upload.header, Request(chunk=upload.data[: len(upload.data) // 2])][:sent]:
                yield message
            await asyncio.Event().wait()

        status, sentence = await refused(network, messages())
        assert status is grpc.StatusCode.DEADLINE_EXCEEDED
        assert sentence == "an upload must not pause for more than 0.3 s, it did"
        await commits(network, 2)


async def is_heard_again(bank: HandBank, upload: Upload) -> None:
    """Once its other calls have ended, whose ends are on their way."""
    heard: list[grpc.StatusCode] = []
    async with asyncio.timeout(DEADLINE):
        while grpc.StatusCode.OK not in heard:
            try:
                await bank.submit(upload.messages)
                heard.append(grpc.StatusCode.OK)
            except grpc.aio.AioRpcError as error:
                heard.append(error.code())
            await asyncio.sleep(0.05)
    assert set(heard) <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}


async def test_a_seat_has_few_uploads_under_way_and_is_heard_again_when_they_end(tmp_path: Path) -> None:
    async with pair(tmp_path) as network:
        await network.answer()
        bank, upload, begun = network.banks[1], network.good()[1], []

        async def slow() -> AsyncIterator[Request]:
            yield upload.header
            yield Request(chunk=upload.data[:8])
            begun.append(True)
            await asyncio.Event().wait()

        uploads = [asyncio.ensure_future(bank.submit(slow())) for _ in range(4)]
        await until(lambda: len(begun) == 4, "four uploads have begun")
        while True:  # what was sent is not yet what has arrived
            probe = asyncio.ensure_future(bank.submit(slow()))
            await asyncio.wait({probe}, timeout=0.5)
            if probe.done():
                break
            uploads.append(probe)
        refusal = probe.exception()
        assert isinstance(refusal, grpc.aio.AioRpcError)
        assert refusal.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal.details() == "a seat must have at most 4 uploads under way, bank-02 has 4"
        for uploading in uploads:
            uploading.cancel()
        await asyncio.gather(*uploads, return_exceptions=True)

        await is_heard_again(bank, upload)
        await commits(network, 2)


async def test_a_seat_has_few_calls_whose_first_message_has_not_arrived(tmp_path: Path) -> None:
    async def nothing() -> AsyncIterator[Request]:
        await asyncio.Event().wait()
        yield Request()

    async with pair(tmp_path) as network, AsyncExitStack() as stack:
        await network.answer()
        bank, calls = network.banks[1], []
        for _ in range(3):  # each of its connections would take sixteen
            channel = await stack.enter_async_context(network.aggregator.channel(bank.own))
            other = replace(bank, channel=channel)
            calls += [asyncio.ensure_future(other.submit(nothing())) for _ in range(6)]
        await until(lambda: sum(call.done() for call in calls) == 2, "two of eighteen calls have ended")
        sentence = "a seat must have at most 16 calls with uploads at once, bank-02 has more"
        refusals = [entry.reason for entry in network.aggregator.events("contribution_refused")]
        assert refusals == [sentence, sentence]
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

        await is_heard_again(bank, network.good()[1])
        await commits(network, 2)


async def test_uploads_that_wait_for_the_disk_are_under_way_as_those_that_have_not_arrived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    go, real = threading.Event(), make_folder

    def slow(folder: Path) -> None:
        go.wait(DEADLINE)
        real(folder)

    def turned_away() -> bool:
        return [record.msg for record in caplog.records].count("contribution refused") == 6

    async with pair(tmp_path) as network:
        await network.answer()
        for module in ("gathered", "vectors"):
            monkeypatch.setattr(f"services.aggregator.{module}.make_folder", slow)
        bank, upload = network.banks[1], network.good()[1]
        uploads = [asyncio.create_task(bank.submit(upload.messages)) for _ in range(10)]
        try:
            await until(turned_away, "all but four have been turned away")
        finally:
            go.set()
        ends = await asyncio.gather(*uploads, return_exceptions=True)
        refusals = {end.details() for end in ends if isinstance(end, grpc.aio.AioRpcError)}
        assert refusals == {"a seat must have at most 4 uploads under way, bank-02 has 4"}
        await commits(network, 2)


@pytest.mark.parametrize("whole", [False, True], ids=["a chunk", "a whole one"])
async def test_a_message_beyond_a_mebibyte_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    limit = "grpc.max_send_message_length"  # of a bank that keeps to no limit of its own
    own = [option for option in fedfraud.channel._CLIENT if option[0] != limit]
    monkeypatch.setattr(fedfraud.channel, "_CLIENT", own)
    async with pair(tmp_path) as network:
        await network.answer()
        bank, upload = network.banks[1], network.good()[1]
        large = upload.sent_as(bytes(2 << 20))
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await bank.submit(large.whole if whole else [upload.header, Request(chunk=large.data)])
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (refusal.value.details() or "").startswith("SERVER: ")
        await commits(network, 2)


async def test_a_lease_that_is_fenced_during_an_upload_is_refused_at_its_end(tmp_path: Path) -> None:
    async with pair(tmp_path) as network:
        await network.answer()
        upload, moved = network.good()[1], asyncio.Event()

        async def messages() -> AsyncIterator[Request]:
            yield upload.header
            await moved.wait()
            for chunk in upload.chunks:
                yield chunk

        uploading = asyncio.create_task(refused(network, messages()))
        async with network.aggregator.channel(network.banks[1].own) as channel:
            again = replace(network.banks[1], channel=channel)
            assert (await again.join()).fencing_number == 2
            assert (await again.round()).key == network.instruction.key
            moved.set()
            assert await uploading == (
                grpc.StatusCode.ABORTED,
                "a lease must be the newest of bank-02, number 2, got 1",
            )
            network.banks = (network.banks[0], again)
            await commits(network, 2)


async def test_a_late_contribution_is_refused_and_the_model_of_the_round_stays(tmp_path: Path) -> None:
    async with pair(tmp_path, quorum=1, expected_banks=2, round_deadline=2.0) as network:
        one, two = network.good()
        await network.banks[0].submit(one.messages)
        await until(lambda: network.aggregator.events("round_committed"), "the round is committed without bank-02")
        status, sentence = await refused(network, two.messages)
        assert status is STALE
        assert "a contribution must " in sentence
        assert network.sum_bytes(1) == one.data


async def test_a_caller_cannot_fill_the_journal_with_its_faults(tmp_path: Path) -> None:
    async with pair(tmp_path) as network:
        for _ in range(25):
            with pytest.raises(grpc.aio.AioRpcError):
                await network.banks[1].submit([])
        assert len(network.aggregator.events("contribution_refused")) == 20
        await commits(network, 1)


async def test_a_round_that_closed_before_a_restart_gives_its_receipts_again(tmp_path: Path) -> None:
    async with pair(tmp_path) as network:
        former, banks = network.good(), network.banks
        receipts = [await bank.submit(upload.messages) for bank, upload in zip(banks, former, strict=True)]
        _ = [await bank.round() for bank in banks]
    async with aggregator(tmp_path) as again:
        for bank, upload, receipt in zip(banks, former, receipts, strict=True):
            async with again.channel(bank.own) as channel:
                back = HandBank(bank.seat, bank.own, channel)
                await back.join()
                assert (await back.round()).key.round == 2
                fresh = replace(upload, fencing_number=back.welcome.fencing_number)
                assert await back.submit(fresh.messages) == receipt
                with pytest.raises(grpc.aio.AioRpcError) as refusal:
                    await back.submit(replace(upload.of(upload.words + np.uint64(1)), fencing_number=2).messages)
                assert refusal.value.code() is STALE
        assert len(again.events("contribution_accepted")) == 2
