"""Bad contributions over the wire: each refused with its status and a sentence, and the round's sum unharmed."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
import pytest

from fedfraud import fixed_point
from fedfraud.identity import make_folder
from fedfraud.v1 import federation_pb2, model_pb2
from fedfraud.wire import round_key_from_proto
from services.aggregator import intake
from tests.federation.hands import DEADLINE, HandBank, Messages, Pair, Request, Upload, aggregator, pair
from tests.federation.waiting import until

INVALID = grpc.StatusCode.INVALID_ARGUMENT
STALE = grpc.StatusCode.FAILED_PRECONDITION
BINS = 2 * 8192  # the histograms come first, then the weight and the clipped ones, then 4,097 coordinates
WEIGHT, CLIPPED, HEAD = BINS, BINS + 1, BINS + 2
WORDS = HEAD + 4097
BYTES = 8 * HEAD + 4 * 4097
BOUND = 3 * 4 * 2**24  # of bank-02: its weight times the clip


@pytest.fixture(autouse=True, params=["in memory", "in a file"])
def arriving(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small contributions wait in memory until they are whole, large ones in a file: the same must come of either."""
    if request.param == "in a file":
        monkeypatch.setattr(intake, "MEMORY_BYTES", 0)


class Case(NamedTuple):
    """A good contribution of bank-02 to the training round, and what is done to it."""

    name: str
    messages: Callable[[Upload], list[Request]]
    status: grpc.StatusCode
    sentence: str


def with_word(place: int, value: int) -> Callable[[Upload], list[Request]]:
    """One of the first words is another, and the hash is right."""

    def messages(upload: Upload) -> list[Request]:
        data = bytearray(upload.data)
        start = place % (len(data) // 8) * 8
        data[start : start + 8] = value.to_bytes(8, "little", signed=True)
        return upload.sent_as(bytes(data)).messages

    return messages


def with_coordinate(place: int, value: int) -> Callable[[Upload], list[Request]]:
    """One coordinate, before its weight, is another, and the hash is right."""

    def messages(upload: Upload) -> list[Request]:
        data, start = bytearray(upload.data), 8 * HEAD + 4 * place
        data[start : start + 4] = value.to_bytes(4, "little", signed=True)
        return upload.sent_as(bytes(data)).messages

    return messages


def with_key(**parts: object) -> Callable[[Upload], list[Request]]:
    def messages(upload: Upload) -> list[Request]:
        key = model_pb2.RoundKey()
        key.CopyFrom(upload.key)
        for name, value in parts.items():
            setattr(key, name, value)
        return replace(upload, key=key).messages

    return messages


def with_disclosure(**figures: float) -> Callable[[Upload], list[Request]]:
    return lambda upload: replace(upload, disclosure=model_pb2.Disclosure(**figures)).messages  # type: ignore[arg-type]  # which figure is the case's to say


CASES = [
    Case("a word too few", lambda u: u.of(u.words[1:]).messages, INVALID, f"must have {WORDS} words, got {WORDS - 1}"),
    Case(
        "a word too many",
        lambda u: u.of(np.append(u.words, np.uint64(0))).messages,
        INVALID,
        f"a contribution must have {WORDS} words, got {WORDS + 1}",
    ),
    Case(
        "the longer form of masked words",
        lambda u: u.sent_as(fixed_point.to_bytes(u.words)).messages,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"a contribution must have the {BYTES} bytes it announced, got more",
    ),
    Case("no words", lambda u: u.of(u.words[:0]).messages, INVALID, f"must have {WORDS} words, got 0"),
    Case("a negative length", lambda u: replace(u, word_count=-1).messages, INVALID, f"{WORDS} words, got -1"),
    Case("a length beyond memory", lambda u: replace(u, word_count=2**62).messages, INVALID, f"got {2**62}"),
    Case(
        "another hash",
        lambda u: replace(u, vector_sha256=bytes(32)).messages,
        INVALID,
        "a contribution must have the SHA-256 it announced, 000000000000, got ",
    ),
    Case(
        "a hash of 31 bytes",
        lambda u: replace(u, vector_sha256=bytes(31)).messages,
        INVALID,
        "a vector's SHA-256 must have 32 bytes, got 31",
    ),
    Case(
        "a coordinate above its bound",
        with_coordinate(0, 4 * 2**24 + 1),
        INVALID,
        f"a coordinate must lie within the weight times the clip, ±{BOUND}, got {BOUND + 3} at coordinate 0",
    ),
    Case(
        "a coordinate below its bound",
        with_coordinate(4096, -4 * 2**24 - 1),
        INVALID,
        f"±{BOUND}, got {-BOUND - 3} at coordinate 4096",
    ),
    Case("the weight 0", with_word(WEIGHT, 0), INVALID, "a weight must be 1 to 1048576, got 0"),
    Case("a weight too large", with_word(WEIGHT, 2**20 + 1), INVALID, "a weight must be 1 to 1048576, got 1048577"),
    Case("a negative weight", with_word(WEIGHT, -1), INVALID, "a weight must be 1 to 1048576, got -1"),
    Case("more clipped than there are", with_word(CLIPPED, 4098), INVALID, "must be 0 to 4097, got 4098"),
    Case(
        "a count beyond any bank",
        with_word(0, 2**34 + 1),
        INVALID,
        f"a histogram count must be at most {2**34}, got {2**34 + 1}",
    ),
    Case("another run", with_key(run_id="another"), STALE, "/2/1, got another/2/1"),
    Case("the former round", with_key(round=1), STALE, "a contribution must answer the open round, "),
    Case("a later round", with_key(round=3), STALE, "a contribution must answer the open round, "),
    Case("another attempt", with_key(attempt=2), STALE, "a contribution must answer the open round, "),
    Case(
        "another model",
        lambda u: replace(u, model_sha256=b"\xab" * 32).messages,
        STALE,
        "a contribution must be made on model ",
    ),
    Case("no model", lambda u: replace(u, model_sha256=b"").messages, STALE, ", got none"),
    Case(
        "more bytes than announced",
        lambda u: [*u.messages, Request(chunk=bytes(8))],
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"a contribution must have the {BYTES} bytes it announced, got more",
    ),
    Case(
        "fewer bytes than announced",
        lambda u: [u.header, Request(chunk=u.data[:-8])],
        INVALID,
        f"a contribution must have the {BYTES} bytes it announced, got {BYTES - 8}",
    ),
    Case("a header alone", lambda u: [u.header], INVALID, f"the {BYTES} bytes it announced, got 0"),
    Case("a chunk first", lambda u: u.chunks, INVALID, "a contribution must begin with its header, got a chunk"),
    Case("nothing", lambda _: [], INVALID, "a contribution must begin with its header, got nothing"),
    Case("an empty message", lambda _: [Request()], INVALID, "must begin with its header, got an empty message"),
    Case(
        "a second header",
        lambda u: [u.header, *u.messages],
        INVALID,
        "a contribution must be chunks after its header, got a header",
    ),
    Case(
        "an empty message in the middle",
        lambda u: [u.header, Request(), *u.chunks],
        INVALID,
        "a contribution must be chunks after its header, got an empty message",
    ),
    Case(
        "an empty chunk",
        lambda u: [u.header, Request(chunk=b""), *u.chunks],
        INVALID,
        "a chunk must have at least 1 byte, got 0",
    ),
    Case(
        "a fenced lease",
        lambda u: replace(u, fencing_number=0).messages,
        grpc.StatusCode.ABORTED,
        "a lease must be the newest of bank-02, number 1, got 0",
    ),
    Case(
        "a lease of the future",
        lambda u: replace(u, fencing_number=2).messages,
        grpc.StatusCode.ABORTED,
        "a lease must be the newest of bank-02, number 1, got 2",
    ),
    Case("a rate that is no number", with_disclosure(fraud_rate=float("nan")), INVALID, "must be 0 to 1, got nan"),
    Case("a rate above 1", with_disclosure(fraud_rate=1.5), INVALID, "fraud_rate must be 0 to 1, got 1.5"),
    Case("a negative precision", with_disclosure(alone=-0.5), INVALID, "alone must be 0 to 1, got -0.5"),
    Case("an infinite precision", with_disclosure(federated=float("inf")), INVALID, "must be 0 to 1, got inf"),
    Case("no rows", with_disclosure(row_count=0), INVALID, "disclosed rows must be at least 1, got 0"),
]

PREPARING_CASES = [
    Case("a limb too large", with_word(0, 2**32), INVALID, f"a limb must be below 2**32, got {2**32}"),
    Case("no rows", with_word(-2, 0), INVALID, f"rows must be 1 to {2**34}, got 0"),
    Case("too many rows", with_word(-2, 2**34 + 1), INVALID, f"rows must be 1 to {2**34}, got {2**34 + 1}"),
    Case("more frauds than rows", with_word(-1, 4), INVALID, "frauds must be at most the rows, 3, got 4"),
    Case(
        "a sum that no rows have",
        with_word(5, 0),  # the limb that holds the first feature's sum of squares, 3 * (4 * 2**20)**2
        INVALID,
        "a sum's square must be at most the rows times the sum of squares, ",
    ),
    Case(
        "a model where there is none",
        lambda u: replace(u, model_sha256=bytes(32)).messages,
        STALE,
        "a contribution must be made on model none, got 000000000000",
    ),
]


def names(cases: list[Case]) -> list[str]:
    return [case.name for case in cases]


async def refused(network: Pair, messages: Messages) -> tuple[grpc.StatusCode, str]:
    """What bank-02 is told; the journal says the same."""
    before = len(network.aggregator.events("contribution_refused"))
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await network.banks[1].submit(messages)
    status, sentence = refusal.value.code(), refusal.value.details() or ""
    entry = network.aggregator.events("contribution_refused")[before]
    assert (entry.seat, entry.status, entry.reason) == ("bank-02", status.name, sentence)
    return status, sentence


async def commits(network: Pair, number: int) -> None:
    """Both banks' good contributions, and nothing else, make the round's sum."""
    good = network.good()
    await network.answer()
    assert network.sum_bytes(number) == fixed_point.to_bytes(good[0].words + good[1].words)


@pytest.mark.parametrize("case", CASES, ids=names(CASES))
async def test_a_bad_contribution_is_refused_and_the_sum_is_unharmed(tmp_path: Path, case: Case) -> None:
    async with pair(tmp_path) as network:
        await network.answer()
        status, sentence = await refused(network, case.messages(network.good()[1]))
        assert status is case.status
        assert case.sentence in sentence
        await commits(network, 2)


@pytest.mark.parametrize("case", PREPARING_CASES, ids=names(PREPARING_CASES))
async def test_a_bad_contribution_to_the_preparing_round_is_refused(tmp_path: Path, case: Case) -> None:
    async with pair(tmp_path) as network:
        status, sentence = await refused(network, case.messages(network.good()[1]))
        assert status is case.status
        assert case.sentence in sentence
        await commits(network, 1)


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
        await network.banks[0].submit(one.messages)
        await network.banks[0].round()
        assert network.sum_bytes(2) == fixed_point.to_bytes(one.words + two.words)


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
        await network.banks[0].submit(one.messages)
        await network.banks[0].round()
        assert network.sum_bytes(2) == fixed_point.to_bytes(one.words + two.words)


async def test_of_two_contributions_at_once_one_counts(tmp_path: Path) -> None:
    async with pair(tmp_path) as network:
        await network.answer()
        bank, (one, two) = network.banks[1], network.good()
        other = bank.upload(network.instruction, 1.0, 3)
        ends = await asyncio.gather(bank.submit(two.messages), bank.submit(other.messages), return_exceptions=True)
        (refusal,) = [end for end in ends if isinstance(end, grpc.aio.AioRpcError)]
        assert refusal.code() is grpc.StatusCode.ALREADY_EXISTS
        counted = two if ends[1] is refusal else other
        await network.banks[0].submit(one.messages)
        await network.banks[0].round()
        assert network.sum_bytes(2) == fixed_point.to_bytes(one.words + counted.words)


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
            for message in [upload.header, Request(chunk=upload.data[: BYTES // 2])][:sent]:
                yield message
            await asyncio.Event().wait()

        status, sentence = await refused(network, messages())
        assert status is grpc.StatusCode.DEADLINE_EXCEEDED
        assert sentence == "an upload must not pause for more than 0.3 s, it did"
        await commits(network, 2)


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

        heard: list[grpc.StatusCode] = []
        async with asyncio.timeout(20):
            while grpc.StatusCode.OK not in heard:  # the ends of the others are on their way
                try:
                    await bank.submit(upload.messages)
                    heard.append(grpc.StatusCode.OK)
                except grpc.aio.AioRpcError as error:
                    heard.append(error.code())
                await asyncio.sleep(0.05)
        assert set(heard) <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
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
        monkeypatch.setattr("services.aggregator.vectors.make_folder", slow)
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


async def test_a_message_beyond_a_mebibyte_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async with pair(tmp_path) as network:
        await network.answer()
        bank, upload = network.banks[1], network.good()[1]
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await bank.submit([upload.header, Request(chunk=bytes(2 << 20))])
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
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
