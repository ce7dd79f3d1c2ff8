"""Which roles an rpc names: deny by default."""

import pytest

from fedfraud.identity import Role
from services.aggregator.guard import allowed_roles


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
