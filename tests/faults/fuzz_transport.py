"""Two ways to an aggregator's handlers with bytes: in this process, with stand-ins for grpc's server and context alone,
and over real gRPC and mutual TLS. What the handlers are wrapped in is the product's in both."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, Protocol
from unittest import mock

import grpc

from fedfraud.channel import KeyPair, enrolment_channel
from tests.faults.fuzz_messages import Rpc
from tests.federation.hands import DEADLINE, Aggregator, aggregator, end_of

OK = grpc.StatusCode.OK
_LOST = "Internal error from Core"
"""Of grpc's asyncio client, when it writes to a call that the server has ended; no server says so."""


@dataclass(frozen=True)
class Answer:
    """How a call ended, and the bytes of its last response."""

    status: grpc.StatusCode
    sentence: str = ""
    response: bytes = b""
    still_open: bool = False
    """It has not ended yet."""
    lost: bool = False
    """The aggregator ended it, and grpc's client put its own INTERNAL over the status (grpc/grpc#36066)."""


class Stream(Protocol):
    """A call that answers as often as it likes."""

    async def read(self) -> bytes | None:
        """The next response; None at the end."""

    async def close(self) -> Answer:
        """Hangs up, if it has not ended; OK then."""


class Transport(Protocol):
    """A way to one aggregator. `who` is None for a caller without a certificate."""

    running: Aggregator

    async def ask(self, rpc: Rpc, who: KeyPair | None, messages: Sequence[bytes]) -> Answer:
        """Calls an rpc that answers once."""

    def listen(self, rpc: Rpc, who: KeyPair | None, messages: Sequence[bytes]) -> Stream:
        """Calls an rpc that streams."""


class _Door:
    """Stands in for grpc.aio.Server: keeps handlers and interceptors, and opens no port."""

    def __init__(self, interceptors: Sequence[grpc.aio.ServerInterceptor]) -> None:
        self._interceptors = interceptors
        self._handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        self._handlers += handlers

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """The same handlers once more."""

    def add_secure_port(self, address: str, credentials: object) -> int:
        return 1

    async def start(self) -> None:
        """There is nothing to start."""

    async def stop(self, grace: float | None) -> None:
        """Nor to stop."""

    async def handler(self, path: str) -> Any:  # noqa: ANN401  # grpc's handlers have no usable type
        """The rpc's handler inside the interceptors, as gRPC would call it; None for what it does not serve."""

        async def found(details: grpc.HandlerCallDetails) -> Any:  # noqa: ANN401  # a handler, as above
            return next((one for each in self._handlers if (one := each.service(details))), None)

        within: Any = found
        for interceptor in reversed(self._interceptors):
            within = partial(interceptor.intercept_service, within)
        details: Any = SimpleNamespace(method=path, invocation_metadata=())
        return await within(details)


class _Context:
    """Stands in for grpc's ServicerContext: who calls, with which requests, and how it ended."""

    def __init__(self, who: KeyPair | None) -> None:
        self.requests: AsyncIterator[object] | None = None
        self._pems = [who.certificate_pem] if who else []
        self.ended = Answer(OK)

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_pem_cert": self._pems} if self._pems else {}

    async def read(self) -> object:
        assert self.requests is not None
        return await anext(self.requests, grpc.aio.EOF)

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: object = ()) -> NoReturn:
        self.ended = Answer(code, details)
        raise grpc.aio.AbortError("locally aborted")

    def add_done_callback(self, callback: Callable[["_Context"], None]) -> None:
        """The task that handles the call is the call's own, as gRPC has it."""
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: callback(self))

    def fails(self, error: BaseException) -> None:
        """What gRPC tells a caller when a handler raises."""
        if not isinstance(error, grpc.aio.AbortError):
            self.ended = Answer(grpc.StatusCode.UNKNOWN, f"unexpected {error!r}")


class _Listening:
    """A streaming call in this process."""

    def __init__(self, serve: Callable[[_Context], AsyncIterator[bytes]], who: KeyPair | None) -> None:
        self._context = _Context(who)
        self._responses: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._task = asyncio.create_task(self._pump(serve(self._context)))

    async def _pump(self, responses: Any) -> None:  # noqa: ANN401  # an async generator
        try:
            async with aclosing(responses):
                async for response in responses:
                    await self._responses.put(response)
        except Exception as error:
            self._context.fails(error)
        await self._responses.put(None)

    async def read(self) -> bytes | None:
        return await self._responses.get()

    async def close(self) -> Answer:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        return self._context.ended


class Indoors:
    """The way in this process."""

    def __init__(self, running: Aggregator, doors: Sequence[_Door]) -> None:
        self.running = running
        self._doors = doors

    async def ask(self, rpc: Rpc, who: KeyPair | None, messages: Sequence[bytes]) -> Answer:
        handler, context = await self._handler(rpc), _Context(who)

        async def call() -> bytes:
            if handler.request_streaming:
                context.requests = _read(handler, messages)
                response = await handler.stream_unary(context.requests, context)
            else:
                response = await handler.unary_unary(handler.request_deserializer(messages[0]), context)
            return bytes(handler.response_serializer(response))

        try:
            response = await asyncio.create_task(call())  # as gRPC: a task of its own, and so a context of its own
        except Exception as error:
            context.fails(error)
            return context.ended
        return Answer(OK, "", response)

    def listen(self, rpc: Rpc, who: KeyPair | None, messages: Sequence[bytes]) -> Stream:
        async def serve(context: _Context) -> AsyncIterator[bytes]:
            handler = await self._handler(rpc)
            if handler.request_streaming:
                responses = handler.stream_stream(_read(handler, messages), context)
            else:
                responses = handler.unary_stream(handler.request_deserializer(messages[0]), context)
            async with aclosing(responses):
                async for response in responses:
                    yield bytes(handler.response_serializer(response))

        return _Listening(serve, who)

    async def _handler(self, rpc: Rpc) -> Any:  # noqa: ANN401  # a handler
        for door in self._doors:
            if handler := await door.handler(rpc.path):
                return handler
        raise AssertionError(f"an rpc of the contract must be served, {rpc.path} is not")


async def _read(handler: Any, messages: Sequence[bytes]) -> AsyncIterator[object]:  # noqa: ANN401  # a handler
    for data in messages:
        yield handler.request_deserializer(data)


@asynccontextmanager
async def indoors(home: Path, **settings: object) -> AsyncIterator[Transport]:
    """The real aggregator in this process, all but its ports."""
    doors: list[_Door] = []

    def server(interceptors: Sequence[grpc.aio.ServerInterceptor], **_: object) -> _Door:
        doors.append(_Door(interceptors))
        return doors[-1]

    with mock.patch.object(grpc.aio, "server", server):
        async with aggregator(home, **settings) as running:
            yield Indoors(running, doors)


class _Calling:
    """A streaming call over the wire."""

    def __init__(self, call: Any) -> None:  # noqa: ANN401  # grpc's calls are generic
        self._call = call
        self._ended = False

    async def read(self) -> bytes | None:
        try:
            response = await self._call.read()
        except grpc.aio.AioRpcError:
            response = grpc.aio.EOF
        self._ended = response is grpc.aio.EOF
        return None if self._ended else bytes(response)

    async def close(self) -> Answer:
        if not self._ended:
            self._call.cancel()
            return Answer(OK)
        return Answer(*await end_of(self._call))


class Wire:
    """The way over gRPC; nobody comes to the mutual port without a certificate of the federation."""

    def __init__(self, running: Aggregator) -> None:
        self.running = running
        self._channels: dict[bytes, grpc.aio.Channel] = {}

    async def ask(self, rpc: Rpc, who: KeyPair | None, messages: Sequence[bytes]) -> Answer:
        channel: Any = self._channel(who)
        try:
            if rpc.descriptor.client_streaming:
                return Answer(OK, "", await channel.stream_unary(rpc.path)(iter(messages), timeout=DEADLINE))
            return Answer(OK, "", await channel.unary_unary(rpc.path)(messages[0], timeout=DEADLINE))
        except grpc.aio.AioRpcError as refusal:
            sentence = refusal.details() or ""
            return Answer(refusal.code(), sentence, lost=sentence == _LOST and rpc.descriptor.client_streaming)

    def listen(self, rpc: Rpc, who: KeyPair | None, messages: Sequence[bytes]) -> Stream:
        channel: Any = self._channel(who)
        if rpc.descriptor.client_streaming:
            return _Calling(channel.stream_stream(rpc.path)(iter(messages)))
        return _Calling(channel.unary_stream(rpc.path)(messages[0]))

    async def close(self) -> None:
        """Hangs up for everybody."""
        for channel in self._channels.values():
            await channel.close()

    def _channel(self, who: KeyPair | None) -> grpc.aio.Channel:
        name = who.certificate_pem if who else b""
        if name not in self._channels:
            address, ca = self.running.enrolment_address, self.running.join().ca_pem
            self._channels[name] = self.running.channel(who) if who else enrolment_channel(address, ca)
        return self._channels[name]


@asynccontextmanager
async def over_the_wire(home: Path, **settings: object) -> AsyncIterator[Transport]:
    """The real aggregator on ports of this machine."""
    async with aggregator(home, **settings) as running:
        wire = Wire(running)
        try:
            yield wire
        finally:
            await wire.close()
