"""Spoilt contributions over the wire: each refused with its status and a sentence, and the round's sum unharmed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
import pytest

from fedfraud import fixed_point
from fedfraud.v1 import federation_pb2, model_pb2
from tests.federation.hands import Request, Upload, pair
from tests.federation.outcomes import INVALID, STALE, commits, refused

pytestmark = pytest.mark.usefixtures("arriving")

BINS = 2 * 8192
WEIGHT, CLIPPED, COUNTS = 0, 1, 2
"""The words of 8 bytes that a training round's contribution begins with, and two counts of 4 bytes after them."""
WORDS = BINS + 4097 + 2
HEAD_BYTES = 16 + 4 * BINS
BYTES = HEAD_BYTES + 4 * 4097
BOUND = 3 * 4 * 2**24  # of bank-02: its weight times the clip


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
        data, start = bytearray(upload.data), HEAD_BYTES + 4 * place
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


def in_one_message(spoilt: Callable[[Upload], list[Request]]) -> Callable[[Upload], list[Request]]:
    """The same header and bytes."""

    def messages(upload: Upload) -> list[Request]:
        first, *chunks = spoilt(upload)
        data = b"".join(message.chunk for message in chunks)
        return [Request(whole=federation_pb2.WholeContribution(header=first.header, data=data))]

    return messages


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
        "counts beyond any bank",
        with_word(COUNTS, -1),
        INVALID,
        f"a histogram's rows must be at most {2**32 - 1}, got {2 * (2**32 - 1) + 2}",  # two rows of its own
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
    Case("a whole one of nothing", lambda u: replace(u, data=b"").whole, INVALID, "a chunk must have at least 1 byte"),
    Case(
        "a whole one without a header",
        lambda _: [Request(whole=federation_pb2.WholeContribution())],
        grpc.StatusCode.ABORTED,
        "a lease must be the newest of bank-02, number 1, got 0",
    ),
    Case(
        "a whole one and a chunk",
        lambda u: [*u.whole, *u.chunks],
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"a contribution must have the {BYTES} bytes it announced, got more",
    ),
    Case(
        "a whole one twice",
        lambda u: [*u.whole, *u.whole],
        INVALID,
        "a contribution must be chunks after its header, got a whole contribution",
    ),
    Case(
        "a whole one after a header",
        lambda u: [u.header, *u.whole],
        INVALID,
        "a contribution must be chunks after its header, got a whole contribution",
    ),
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


IN_ONE_MESSAGE = [
    case._replace(name=f"{case.name}, in one message", messages=in_one_message(case.messages))
    for case in CASES
    if case.name
    in (
        "more bytes than announced",
        "fewer bytes than announced",
        "another hash",
        "the former round",
        "another model",
        "a fenced lease",
        "counts beyond any bank",
        "a rate above 1",
    )
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


@pytest.mark.parametrize("case", [*CASES, *IN_ONE_MESSAGE], ids=names([*CASES, *IN_ONE_MESSAGE]))
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
