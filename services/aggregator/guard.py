"""The one interceptor: who calls, whether that role may, and which status an error becomes. Deny by default."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError

from fedfraud.errors import FedfraudError, Forbidden, Invalid, Unauthenticated
from fedfraud.identity import Credential, Identity, Role, read_credential
from fedfraud.logs import Log
from fedfraud.v1 import model_pb2
from fedfraud.wire import role_from_proto
from services.aggregator.seats import Seats

_caller: ContextVar[tuple[Identity, Credential]] = ContextVar("caller")
Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any
"""Of an rpc: grpc has no usable type for it."""
_LONGEST_SENTENCE = 500
"""Characters, each at most 12 bytes in a trailer, of which gRPC takes 8 KiB: with more a caller loses the status."""


@dataclass(frozen=True)
class _Unreadable:
    """Bytes that are no message of the rpc. They are refused like any other fault, once it is known who sent them."""

    size: int


def caller() -> Identity:
    """Who makes the call that is being handled."""
    return _caller.get()[0]


def caller_credential() -> Credential:
    """The certificate with which it is made."""
    return _caller.get()[1]


@cache
def allowed_roles(method: str) -> frozenset[Role]:
    """The roles that the .proto names for "/fedfraud.v1.SomeService/SomeMethod"; none for what it does not know."""
    service, _, name = method.strip("/").rpartition("/")
    try:
        descriptor = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    except KeyError:
        return frozenset()
    return frozenset(role_from_proto(role) for role in descriptor.GetOptions().Extensions[model_pb2.allowed_roles])


class Calls:
    """The calls that are being handled. gRPC's server forgets one whose caller went while its handler clears up."""

    def __init__(self) -> None:
        self._count = 0
        self._over = asyncio.Event()
        self._over.set()

    def begin(self, context: Context) -> None:
        """One begins; its context says when it is over."""
        self._count += 1
        self._over.clear()
        context.add_done_callback(self._end)  # type: ignore[arg-type]  # grpc-stubs says a class, where a function goes

    async def over(self) -> None:
        """Returns when none is left."""
        await self._over.wait()

    def _end(self, _: Context) -> None:
        self._count -= 1
        if not self._count:
            self._over.set()


class Guard(grpc.aio.ServerInterceptor):
    """Checks every call on the mutual-TLS port and turns errors into statuses."""

    def __init__(self, seats: Seats, calls: Calls, log: Log) -> None:
        self._seats = seats
        self._calls = calls
        self._log = log

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wraps the handler in the checks."""
        handler = await continuation(details)
        if handler is None:
            return None
        return _wrapped(handler, lambda context: self._admit(context, details.method), self._until_invalid, self._log)

    def _admit(self, context: Context, method: str) -> None:
        self._calls.begin(context)
        credential = _peer(context)
        identity = self._seats.check(credential)
        if identity.role not in allowed_roles(method):
            raise Forbidden(f"{method} must be called by its roles, got {identity.role.value}")
        _caller.set((identity, credential))

    async def _until_invalid(self) -> Unauthenticated:
        return await self._seats.until_invalid(caller_credential())


class ErrorMapper(grpc.aio.ServerInterceptor):
    """Turns errors into statuses on the enrolment port, where a caller has no certificate yet."""

    def __init__(self, calls: Calls, log: Log) -> None:
        self._calls = calls
        self._log = log

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wraps the handler in the mapping alone."""
        handler = await continuation(details)
        return None if handler is None else _wrapped(handler, self._calls.begin, None, self._log)


def _peer(context: Context) -> Credential:
    pems = list(context.auth_context().get("x509_pem_cert", []))
    if len(pems) != 1:
        raise Unauthenticated(f"a caller must show one certificate, got {len(pems)}")
    return read_credential(bytes(pems[0]))


def _wrapped(
    handler: Handler,
    admit: Callable[[Context], None],
    until_invalid: Callable[[], Awaitable[Unauthenticated]] | None,
    log: Log,
) -> Handler:
    if handler.response_streaming:
        behaviour = handler.unary_stream or handler.stream_stream
        make = grpc.unary_stream_rpc_method_handler if handler.unary_stream else grpc.stream_stream_rpc_method_handler

        async def stream(request: object, context: Context) -> AsyncIterator[object]:
            try:
                admit(context)
                responses = behaviour(_requests(handler, request, context), context)
                async for response in _while_valid(responses, until_invalid) if until_invalid else responses:
                    yield response
            except Exception as error:
                request = None  # as in `_abort`
                await _abort(context, error, log)

        return make(stream, _tolerant(handler.request_deserializer), handler.response_serializer)
    behaviour = handler.unary_unary or handler.stream_unary
    make = grpc.unary_unary_rpc_method_handler if handler.unary_unary else grpc.stream_unary_rpc_method_handler

    async def unary(request: object, context: Context) -> object:
        try:
            admit(context)
            return await behaviour(_requests(handler, request, context), context)
        except Exception as error:
            request = None  # as in `_abort`
            await _abort(context, error, log)
            raise  # not reached: abort raises

    return make(unary, _tolerant(handler.request_deserializer), handler.response_serializer)


def _tolerant(deserialise: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """gRPC itself would end the call with UNKNOWN or INTERNAL, before anybody asked who calls."""

    def message(data: bytes) -> object:
        try:
            return deserialise(data)
        except DecodeError:
            return _Unreadable(len(data))

    return message


def _requests(handler: Handler, request: object, context: Context) -> object:
    return _ReadableAll(context) if handler.request_streaming else _readable(request)


def _readable(request: object) -> object:
    if isinstance(request, _Unreadable):
        raise Invalid(f"a request must be a message of the rpc's type, got {request.size} other bytes")
    return request


class _ReadableAll:
    """A stream's requests. It holds none: a large one goes when its reader lets go of it. gRPC's own iterator holds the
    last one until the garbage collector comes, unless it is read to its end."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __aiter__(self) -> AsyncIterator[object]:
        return self

    async def __anext__(self) -> object:
        request = await self._context.read()
        if request is grpc.aio.EOF:
            raise StopAsyncIteration
        return _readable(request)


async def _while_valid(
    responses: AsyncIterator[object], until_invalid: Callable[[], Awaitable[Unauthenticated]]
) -> AsyncIterator[object]:
    """The responses until the caller's certificate no longer counts: an open stream outlives no certificate."""
    ended = asyncio.ensure_future(until_invalid())
    step: asyncio.Timeout | None = None

    def end_step(_: object) -> None:
        if step is not None:  # else it is being sent, and the next step sees it
            step.reschedule(asyncio.get_running_loop().time())

    ended.add_done_callback(end_step)
    try:
        while not ended.done():
            try:
                async with asyncio.timeout(None) as step:
                    response = await anext(responses, None)
            except Exception:
                if ended.done():  # whatever else it failed with as the certificate ended
                    break
                raise
            finally:
                step = None
            if ended.done():
                break
            if response is None:
                return
            yield response
        raise ended.result()
    finally:
        ended.cancel()
        await responses.aclose()  # type: ignore[attr-defined]  # an async generator


async def _abort(context: Context, error: Exception, log: Log) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    status, sentence = grpc.StatusCode.INTERNAL, "the aggregator failed; its log says why"
    if isinstance(error, FedfraudError):
        status, sentence = error.status, str(error)[:_LONGEST_SENTENCE]
    else:
        log.error("a handler failed", exc_info=True, error=repr(error))
    # gRPC keeps the abort until the garbage collector comes, and so this error, whose frames hold the last request.
    error.__traceback__ = error.__context__ = error.__cause__ = None
    await context.abort(status, sentence)
