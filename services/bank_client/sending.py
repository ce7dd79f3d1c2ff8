"""Sends an answer again and again, while only the line or the aggregator fails and its round is going on."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import grpc

from fedfraud.errors import FedfraudError, NotStored
from fedfraud.logs import Log
from services.bank_client.work import Work

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_TRANSIENT = (
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)


async def until_sent(work: Work, send: Callable[[], Awaitable[None]], seat: str) -> None:
    """Sends an answer, again and again while only the line or the aggregator fails and the deadline is ahead."""
    pause = _FIRST_PAUSE
    while not work.cancelled.is_set() and not await _sent(work, send, seat):  # it may be over after a pause too
        if time.monotonic() + pause > work.ends or work.cancelled.is_set():
            return
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, no secret
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _sent(work: Work, send: Callable[[], Awaitable[None]], seat: str) -> bool:
    """One try; False if another may do better."""
    log = Log(seat)
    try:
        await send()
    except grpc.aio.AioRpcError as error:
        reason = error.details()
        log.warning("not contributed", seat=seat, round=work.key, status=error.code().name, why=reason)
        return not is_transient(error)
    except grpc.aio.UsageError as error:  # a session's channel is closed: the next session has another
        log.warning("not contributed", seat=seat, round=work.key, why=error)
        return False
    except asyncio.CancelledError:
        own = asyncio.current_task()
        if own is None or own.cancelling():
            raise
        return False  # what it waited for went with a former session's channel: it is made anew
    except (NotStored, OSError) as error:
        log.error("disk fails", seat=seat, round=work.key, reason=error)
        return False
    except FedfraudError as error:
        log.error("not released", seat=seat, round=work.key, reason=error)
    except Exception as error:
        if work.cancelled.is_set():
            log.info("round is over", seat=seat, round=work.key)
        else:
            reason = f"{type(error).__name__}: {error}"
            log.error("not released", exc_info=error, seat=seat, round=work.key, reason=reason)
    return True


def is_transient(error: Exception) -> bool:
    """Whether only the line or the aggregator failed, so that the same may do better on another try."""
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code() in _TRANSIENT
    return isinstance(error, grpc.aio.UsageError)
