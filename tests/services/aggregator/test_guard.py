"""Which roles an rpc names: deny by default; and how a stream ends with its caller's certificate."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator

import grpc
import pytest

from fedfraud.errors import Stale, Unauthenticated
from fedfraud.identity import Role
from fedfraud.logs import Log
from fedfraud.v1 import federation_pb2, history_pb2, operation_pb2
from services.aggregator.guard import _while_valid, _wrapped, allowed_roles

SERVED = (federation_pb2, history_pb2, operation_pb2)
"""Imported so that the descriptor pool knows them, as an aggregator's does."""


@pytest.mark.parametrize(
    ("method", "roles"),
    [
        ("/fedfraud.v1.FederationService/Participate", {Role.BANK}),
        ("/fedfraud.v1.HistoryService/WatchHistory", {Role.REPORTER, Role.OPERATOR}),
        ("/fedfraud.v1.OperationService/RevokeSeat", {Role.OPERATOR}),
        ("/fedfraud.v1.EnrolmentService/Enrol", set()),  # names no role: refused to everybody on the mutual port
        ("/fedfraud.v1.FederationService/Unknown", set()),
        ("/fedfraud.v2.FederationService/Participate", set()),
        ("/grpc.health.v1.Health/Check", set()),
        ("", set()),
        ("/", set()),
    ],
)
def test_an_rpc_is_for_the_roles_that_its_proto_names(method: str, roles: set[Role]) -> None:
    assert allowed_roles(method) == roles


async def test_a_stream_that_fails_at_the_moment_its_certificate_ends_leaves_no_error_behind() -> None:
    left_behind: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: left_behind.append(context))

    async def responses() -> AsyncIterator[object]:
        await asyncio.sleep(0)
        raise Stale("a stream must have a lease")
        yield

    async def ended() -> Unauthenticated:
        return Unauthenticated("a certificate must not be revoked")

    with pytest.raises(Unauthenticated, match="revoked"):
        await anext(_while_valid(responses(), ended))
    gc.collect()
    assert not left_behind


async def test_a_stream_that_waits_ends_with_its_certificate_and_one_that_times_out_says_that() -> None:
    revoked, let_go = asyncio.Event(), asyncio.Event()

    async def responses() -> AsyncIterator[object]:
        try:
            yield "first"
            await asyncio.Event().wait()
        finally:
            let_go.set()

    async def ended() -> Unauthenticated:
        await revoked.wait()
        return Unauthenticated("a certificate must not be revoked")

    stream = _while_valid(responses(), ended)
    assert await anext(stream) == "first"
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    revoked.set()
    with pytest.raises(Unauthenticated, match="revoked"):
        await waiting
    assert let_go.is_set()

    async def late() -> AsyncIterator[object]:
        raise TimeoutError("its own")
        yield

    revoked.clear()
    with pytest.raises(TimeoutError, match="its own"):
        await anext(_while_valid(late(), ended))


@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_certificate_that_ends_while_a_response_is_sent_ends_the_stream_before_the_next(goes_on: bool) -> None:
    async def responses() -> AsyncIterator[object]:
        yield "first"
        if not goes_on:
            await asyncio.Event().wait()
        yield "more"

    revoked = asyncio.Event()

    async def ended() -> Unauthenticated:
        await revoked.wait()
        return Unauthenticated("a certificate must not be revoked")

    stream = _while_valid(responses(), ended)
    assert await anext(stream) == "first"
    revoked.set()
    for _ in range(3):
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        with pytest.raises(Unauthenticated, match="revoked"):
            await anext(stream)


class Message:
    """A request; it can be weakly referenced."""


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream", "stream_unary"])
async def test_nothing_is_left_of_the_message_of_a_call_that_is_refused(kind: str) -> None:
    messages: list[weakref.ref[Message]] = []

    def read(_: bytes) -> Message:
        message = Message()
        messages.append(weakref.ref(message))
        return message

    async def unary(request: object, context: object) -> bytes:
        if kind == "stream_unary":
            request = await anext(request)  # type: ignore[call-overload]  # a stream of requests
        raise Stale("a call must have a lease")

    async def stream(request: object, context: object) -> AsyncIterator[bytes]:
        raise Stale("a call must have a lease")
        yield b""

    make = getattr(grpc, f"{kind}_rpc_method_handler")
    handler = _wrapped(make(stream if kind == "unary_stream" else unary, read), lambda _: None, None, Log("test"))
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test", {"Call": handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    gc.disable()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = getattr(channel, kind)("/test/Call")(iter([b"one"]) if kind == "stream_unary" else b"one")
            assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
        await server.stop(None)
        assert [message() for message in messages] == [None]
    finally:
        gc.enable()
