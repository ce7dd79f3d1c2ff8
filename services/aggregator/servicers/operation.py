"""OperationService: what an operator may do to a network that is up."""

from typing import Any

import grpc

from fedfraud.errors import Invalid
from fedfraud.identity import Role
from fedfraud.logs import Log
from fedfraud.v1 import history_pb2, operation_pb2, operation_pb2_grpc
from fedfraud.wire import role_to_proto
from services.aggregator.seats import SeatRecord
from services.aggregator.settings import Settings
from services.aggregator.status import Network, seat_state

_MAX_ROUNDS = 10_000
_MAX_REASON = 200
Context = grpc.aio.ServicerContext[Any, Any]


class OperationServicer(operation_pb2_grpc.OperationServiceServicer):
    """See operation.proto."""

    def __init__(
        self,
        settings: Settings,
        network: Network,
        log: Log,
    ) -> None:
        self._settings = settings
        self._network = network
        self._conductor = network.conductor
        self._participants = network.participants
        self._seats = network.seats
        self._journal = network.journal
        self._log = log

    async def StartRun(  # the name is the proto's
        self, request: operation_pb2.StartRunRequest, context: Context
    ) -> operation_pb2.StartRunResponse:
        """See operation.proto."""
        rounds = request.round_count or self._settings.rounds
        if not 1 <= rounds <= _MAX_ROUNDS:
            raise Invalid(f"rounds must be 1 to {_MAX_ROUNDS}, got {rounds}")
        seed = request.seed if request.HasField("seed") else None
        if seed is not None and not 0 <= seed < 2**32:
            raise Invalid(f"a seed must be 0 to {2**32 - 1}, got {seed}")
        run_id = await self._conductor.start(rounds, request.recipe or self._settings.recipe, seed)
        return operation_pb2.StartRunResponse(run_id=run_id)

    async def StopRun(self, request: operation_pb2.StopRunRequest, context: Context) -> operation_pb2.StopRunResponse:
        """See operation.proto."""
        return operation_pb2.StopRunResponse(run_id=await self._conductor.stop())

    async def GetStatus(
        self, request: operation_pb2.GetStatusRequest, context: Context
    ) -> operation_pb2.GetStatusResponse:
        """See operation.proto."""
        return self._network.status()

    async def ListSeats(
        self, request: operation_pb2.ListSeatsRequest, context: Context
    ) -> operation_pb2.ListSeatsResponse:
        """See operation.proto."""
        return operation_pb2.ListSeatsResponse(seats=[_seat_to_proto(r) for r in self._seats.records.values()])

    async def LapseSeat(
        self, request: operation_pb2.LapseSeatRequest, context: Context
    ) -> operation_pb2.LapseSeatResponse:
        """See operation.proto."""
        await self._participants.lapse(request.seat, "an operator let it lapse")
        return operation_pb2.LapseSeatResponse()

    async def RevokeSeat(
        self, request: operation_pb2.RevokeSeatRequest, context: Context
    ) -> operation_pb2.RevokeSeatResponse:
        """See operation.proto."""
        if len(request.reason) > _MAX_REASON:
            raise Invalid(f"a reason must have at most {_MAX_REASON} characters, got {len(request.reason)}")
        record = self._seats.record(request.seat)
        if not record.revoked:
            reason = request.reason or "an operator revoked it"
            await self._journal.append(
                history_pb2.CertificateRevoked(role=role_to_proto(Role.BANK), seat=record.name, reason=reason)
            )
            self._log.warning("seat revoked", seat=record.name, reason=reason)
        return operation_pb2.RevokeSeatResponse()


def _seat_to_proto(record: SeatRecord) -> operation_pb2.Seat:
    seat = operation_pb2.Seat(
        seat=record.name, state=seat_state(record), fencing_number=record.fencing_number, slot=record.slot
    )
    seat.expiry_time.FromDatetime(record.expiry)
    return seat
