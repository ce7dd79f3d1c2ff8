"""Which roles an rpc names: deny by default; and how a stream ends with its caller's certificate."""

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from fedfraud.errors import Stale, Unauthenticated
from fedfraud.identity import Role
from fedfraud.v1 import federation_pb2, history_pb2, operation_pb2
from services.aggregator.guard import _while_valid, allowed_roles

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
        raise Stale("a stream must have a lease")
        yield

    async def ended() -> Unauthenticated:
        return Unauthenticated("a certificate must not be revoked")

    with pytest.raises(Unauthenticated, match="revoked"):
        await anext(_while_valid(responses(), ended))
    gc.collect()
    assert not left_behind
