"""Chunks without protobuf: what is written is protobuf's bytes, and whatever else comes is judged by protobuf."""

from collections.abc import Callable

import pytest
from google.protobuf.message import DecodeError

from fedfraud.chunks import Part, Whole, read_piece, read_upload, write_piece, write_upload
from fedfraud.v1 import federation_pb2, model_pb2

Piece, Request = federation_pb2.GetVectorResponse, federation_pb2.SubmitContributionRequest
SIZES = [1, 127, 128, 16_383, 16_384, 1 << 20]
WITH_HEADER = Request(header=federation_pb2.ContributionHeader(word_count=7)).SerializeToString()


@pytest.mark.parametrize("size", SIZES)
def test_the_bytes_on_the_wire_are_those_of_protobuf(size: int) -> None:
    data = bytes(size)
    assert write_piece(data) == Piece(chunk=data).SerializeToString()
    assert write_upload(memoryview(data)) == Request(chunk=data).SerializeToString()


@pytest.mark.parametrize("size", SIZES)
def test_a_chunk_is_read_without_a_copy(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    for write, read in ((write_piece, read_piece), (write_upload, read_upload)):
        message = write(data[:size])
        found = read(message)
        assert isinstance(found, memoryview)
        assert found.obj is message
        assert found == data[:size]


def protobufs_piece(message: bytes) -> bytes:
    return Piece.FromString(message).chunk


def protobufs_upload(message: bytes) -> bytes:
    return Request.FromString(message).chunk


@pytest.mark.parametrize(
    ("read", "protobufs", "tag"),
    [(read_piece, protobufs_piece, b"\x0a"), (read_upload, protobufs_upload, b"\x12")],
    ids=["piece", "upload"],
)
@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"\x03abc",
        b"\x00",
        b"\x83\x00abc",  # a length in more bytes than it needs
        b"\x83\x80\x80\x80\x00abc",
        b"\x83\x80\x80\x80\x80\x00abc",
        b"\x83\x80\x80\x80\x80\x80\x80\x80\x80\x00abc",
        b"\x83\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00abc",
        b"\x83",  # a length that ends too early
        b"\x83\x80\x80\x80\x80",
        b"\x04abc",
        b"\x02abc",
        b"\xff\xff\xff\xff\x0fabc",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01abc",
        b"\x03abc\x0a\x01d",  # a second field, known here or there
        b"\x03abc\x12\x01d",
        b"\x03abc\x0a",
        b"\x03abc\xfa\x01\x01d",
    ],
)
def test_whatever_comes_is_read_or_refused_as_by_protobuf(
    read: Callable[[bytes], Part], protobufs: Callable[[bytes], bytes], tag: bytes, rest: bytes
) -> None:
    try:
        expected = protobufs(tag + rest)
    except DecodeError:
        with pytest.raises(DecodeError):
            read(tag + rest)
        return
    found = read(tag + rest)
    assert (found.chunk if isinstance(found, Request) else found) == expected


def test_a_header_and_an_empty_message_stay_messages() -> None:
    assert read_upload(WITH_HEADER) == Request.FromString(WITH_HEADER)
    assert read_upload(b"") == Request()
    assert read_piece(b"") == b""


@pytest.mark.parametrize("size", [1, 127, 128, 16_384, 1 << 20])
@pytest.mark.parametrize("run_id", ["", "r" * 200])
def test_a_whole_contribution_is_read_without_a_copy(size: int, run_id: str) -> None:
    header = federation_pb2.ContributionHeader(word_count=7, key=model_pb2.RoundKey(run_id=run_id))
    message = written(header, bytes(range(256))[: size % 256] + bytes(size - size % 256))
    found = read_upload(message)
    assert isinstance(found, Whole)
    assert found.header == header
    assert found.data.obj is message
    assert found.data == Request.FromString(message).whole.data


def written(header: federation_pb2.ContributionHeader | None, data: bytes) -> bytes:
    return Request(whole=federation_pb2.WholeContribution(header=header, data=data)).SerializeToString()


HEADER = federation_pb2.ContributionHeader(word_count=7)


@pytest.mark.parametrize(
    "message",
    [
        written(HEADER, b""),
        written(None, b"abc"),
        written(None, b""),
        written(HEADER, b"abc") + written(HEADER, b"abcd"),
        written(HEADER, b"abc") + WITH_HEADER,
        WITH_HEADER + written(HEADER, b"abc"),
        written(HEADER, b"abc") + b"\xfa\x01\x01d",
        written(HEADER, b"abc")[:-1],
        b"\x1a\x09\x12\x03abc\x0a\x02\x28\x07",  # its data first
        b"\x1a\x0e\x0a\x02\x28\x07\x12\x03abc\x12\x03xyz",  # twice data
        b"\x1a\x0b\x0a\x02\x28\x07\x12\x03abc\x18\x01",  # a field that nobody knows
        b"\x1a\x09\x0a\x02\x28\xff\x12\x03abc",  # a header that is none
        b"\x1a\x09\x0a\x7f\x28\x07\x12\x03abc",
        b"\x1a\x03\x0a\x02\x28",
        b"\x1a\x00",
        b"\x1a",
    ],
)
def test_a_whole_contribution_is_what_protobuf_takes_it_for(message: bytes) -> None:
    try:
        expected = Request.FromString(message)
    except DecodeError:
        with pytest.raises(DecodeError):
            read_upload(message)
        return
    found = read_upload(message)
    if expected.WhichOneof("message") == "whole":
        assert found == (expected.whole.header, expected.whole.data)
    else:
        assert found == expected


def test_of_a_header_and_a_chunk_the_later_one_counts_as_for_protobuf() -> None:
    both = WITH_HEADER + write_upload(b"abc")
    assert Request.FromString(both).WhichOneof("message") == "chunk"
    assert read_upload(both) == b"abc"
    assert read_upload(write_upload(b"abc") + WITH_HEADER) == Request.FromString(WITH_HEADER)
