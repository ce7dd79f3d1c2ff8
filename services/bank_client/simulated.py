"""What makes a simulated bank before it serves: a seat and its shard, each unless the volume has it.

Both are made in a forked process, which then ends: what serves has never imported the simulation and cannot tell
simulated rows from real ones, and its own imports are there already. Nothing of gRPC may have begun before the fork.
"""

import asyncio
import os
import time
from collections.abc import Callable

import grpc
import uvloop

from fedfraud.errors import Misconfigured
from fedfraud.logs import Log
from services.bank_client.enrol import Enrolment, ensure_enrolled
from services.bank_client.settings import Settings

_PATIENCE, _PAUSE = 120.0, 0.2
"""Seconds that the aggregator is waited for, and between two looks."""
_log = Log("bank")


def in_a_fork(work: Callable[[], int]) -> int:
    """The exit status of a process, a copy of this one, that does the work and ends."""
    child = os.fork()
    if not child:
        status = 1
        try:
            status = work()
        finally:
            os._exit(status)  # what follows is the parent's
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def make_bank(settings: Settings) -> int:
    """Takes a seat and writes its shard; 0."""
    from services.bank_client.write_shard import write_shard  # it imports the simulation

    enrolment = uvloop.run(_enrolled(settings))
    _log.info("enrolled", seat=enrolment.seat, slot=enrolment.slot or "-")
    write_shard(**enrolment.shard, data_dir=settings.data_dir)
    return 0


async def _enrolled(settings: Settings) -> Enrolment:
    """Its enrolment. Aggregator and banks start together: until the one answers, what lies in the join folder may be
    nothing, or a former network's."""
    ends = time.monotonic() + _PATIENCE
    while True:
        try:
            return await ensure_enrolled(settings, wait=0.0)
        except Misconfigured:
            if time.monotonic() > ends:
                raise
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > ends:
                raise
        await asyncio.sleep(_PAUSE)
