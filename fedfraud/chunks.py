"""Messages that are one chunk of a vector or a contribution, or all of one, read and written without protobuf: on the
wire they are protobuf's bytes, and each chunk is copied two times less at either end. Whole ones are written by it."""

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import grpc

from fedfraud.v1 import federation_pb2, federation_pb2_grpc

if TYPE_CHECKING:
    from fedfraud.v1.federation_pb2_grpc import FederationServiceAsyncStub

GET_VECTOR = "/fedfraud.v1.FederationService/GetVector"
SUBMIT_CONTRIBUTION = "/fedfraud.v1.FederationService/SubmitContribution"
_PIECE, _UPLOADED, _WHOLE, _HEADER, _DATA = 0x0A, 0x12, 0x1A, 0x0A, 0x12
"""GetVectorResponse.chunk, SubmitContributionRequest.chunk and whole, WholeContribution.header and data: the field's
number and that its length comes first."""
_LENGTH_BYTES = 5
"""Of a length that one message can have."""

Handler: TypeAlias = Any  # grpc has two classes for a method's handler, and promises neither
Part = bytes | memoryview


class Whole(NamedTuple):
    """An upload in one message."""

    header: federation_pb2.ContributionHeader
    data: memoryview


Upload = federation_pb2.SubmitContributionRequest | memoryview | Whole
"""A message of an upload: its header, the bytes of a chunk or all of both; without any an empty message."""


def write_piece(chunk: Part) -> bytes:
    """A GetVectorResponse."""
    return _message(_PIECE, chunk)


def read_piece(message: bytes) -> Part:
    """The chunk of a GetVectorResponse; DecodeError as protobuf's."""
    chunk = _only_field(_PIECE, message)
    return federation_pb2.GetVectorResponse.FromString(message).chunk if chunk is None else chunk


def write_upload(chunk: Part) -> bytes:
    """A SubmitContributionRequest after the first."""
    return _message(_UPLOADED, chunk)


def read_upload(message: bytes) -> Upload:
    """A SubmitContributionRequest; DecodeError as protobuf's."""
    chunk = _only_field(_UPLOADED, message)
    if chunk is not None:
        return chunk
    if (whole := _whole(message)) is not None:
        return whole
    request = federation_pb2.SubmitContributionRequest.FromString(message)
    match request.WhichOneof("message"):
        case "chunk":
            return memoryview(request.chunk)
        case "whole":
            return Whole(request.whole.header, memoryview(request.whole.data))
        case _:
            return request


class ChunkMessages(grpc.aio.ServerInterceptor):
    """Lets a server do it: its GetVector yields written messages, its SubmitContribution gets Uploads."""

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]], details: grpc.HandlerCallDetails
    ) -> Handler:
        """Gives the two rpcs other readers and writers than the generated ones."""
        handler = await continuation(details)
        if details.method == GET_VECTOR:
            return grpc.unary_stream_rpc_method_handler(handler.unary_stream, handler.request_deserializer, bytes)
        if details.method == SUBMIT_CONTRIBUTION:
            return grpc.stream_unary_rpc_method_handler(handler.stream_unary, read_upload, handler.response_serializer)
        return handler


def federation_stub(channel: grpc.aio.Channel) -> "FederationServiceAsyncStub":
    """The rpcs of FederationService; GetVector answers in chunks, SubmitContribution takes written messages: many, or
    one as bytes, which leaves with the call and its end at once, as the request of an rpc without a stream."""
    stub: Any = federation_pb2_grpc.FederationServiceStub(channel)
    stub.GetVector = channel.unary_stream(
        GET_VECTOR,
        request_serializer=federation_pb2.GetVectorRequest.SerializeToString,
        response_deserializer=read_piece,
    )
    response = federation_pb2.SubmitContributionResponse.FromString
    many = channel.stream_unary(SUBMIT_CONTRIBUTION, request_serializer=bytes, response_deserializer=response)
    one = channel.unary_unary(SUBMIT_CONTRIBUTION, request_serializer=bytes, response_deserializer=response)

    def submit(messages: bytes | Iterator[bytes], timeout: float) -> Awaitable[object]:
        return one(messages, timeout=timeout) if isinstance(messages, bytes) else many(messages, timeout=timeout)

    stub.SubmitContribution = submit
    return stub  # type: ignore[no-any-return]  # the generated class has no types at run time


def _message(tag: int, chunk: Part) -> bytes:
    head, length = bytearray((tag,)), len(chunk)
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return b"".join((head, chunk))


def _whole(message: bytes) -> Whole | None:
    """An upload in the form in which it is always written; of any other protobuf is to judge."""
    content = _only_field(_WHOLE, message)
    begun = _first_field(_HEADER, content) if content else None
    if begun is None or (data := _only_field(_DATA, begun[1])) is None:
        return None
    return Whole(federation_pb2.ContributionHeader.FromString(bytes(begun[0])), data)


def _only_field(tag: int, message: Part) -> memoryview | None:
    """What is in the message if it is this field and nothing else, in the form in which it is always written; of any
    other protobuf is to judge."""
    found = _first_field(tag, message)
    return found[0] if found and not found[1] else None


def _first_field(tag: int, message: Part) -> tuple[memoryview, memoryview] | None:
    """What is in the field that the message begins with, if it is this one, and what comes after it."""
    if message[:1] != bytes((tag,)):
        return None
    length = 0
    for place, byte in enumerate(message[1 : 1 + _LENGTH_BYTES]):
        length |= (byte & 0x7F) << 7 * place
        if byte <= 0x7F:
            view, start = memoryview(message), place + 2
            return (view[start : start + length], view[start + length :]) if start + length <= len(view) else None
    return None
