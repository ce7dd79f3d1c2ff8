"""Follows the aggregator's journal over mutual TLS, through restarts of either side, and hands on each ended run.

The reporter keeps no state: it reads the journal from its beginning, and a run that is written already stays.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import grpc

from fedfraud.channel import KeyPair, mutual_channel
from fedfraud.enrolment import JoinFolder, enrol
from fedfraud.errors import FedfraudError, Misconfigured, OutOfRange
from fedfraud.identity import new_key
from fedfraud.logs import Log
from fedfraud.v1 import history_pb2, history_pb2_grpc
from services.reporter.facts import RunFacts
from services.reporter.fold import Facts
from services.reporter.settings import Settings

log = Log("reporter")

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds before the first retry and at most, before jitter."""
STEADY = 10.0
"""Seconds that a stream must have lived for the pauses to begin small again."""
RENEW_AT = 2 / 3
"""The share of a certificate's life after which the reporter enrols again."""

OnRun = Callable[[RunFacts, "history_pb2_grpc.HistoryServiceAsyncStub"], Awaitable[None]]
"""Takes an ended run, and the line over which its model can be had."""


@dataclass(frozen=True)
class Credentials:
    """The reporter's own key pair, the folder that it joined by, and when to get another (monotonic seconds)."""

    join: JoinFolder
    own: KeyPair
    renew_time: float


@dataclass
class Position:
    """How far the journal was read, and what it said so far."""

    facts: Facts = field(default_factory=Facts)
    sequence: int = 0


async def follow(
    settings: Settings,
    on_run: OnRun,
    on_serving: Callable[[bool], Awaitable[None]],
    on_entry: Callable[[Facts], None] = lambda _: None,
) -> None:
    """Runs until cancelled. `on_run` gets each ended run, `on_serving` whether the journal's stream is up, `on_entry`
    the facts after each entry.

    Misconfigured, raised by `on_run`, ends it: what cannot be written now is written after a restart.
    """
    credentials, position, failures = None, Position(), 0
    while True:
        started = time.monotonic()
        problem = ""
        try:
            former, credentials = credentials, await _current(settings, credentials)
            if former and former.join != credentials.join:
                position = Position()  # another network has taken the place
            await _watch(settings, credentials, position, on_run, on_serving, on_entry)
        except grpc.aio.AioRpcError as error:
            problem = f"{error.code().name}: {error.details()}"
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                credentials = None
                position = Position()  # a journal that does not know us may be another: put back from a copy
            if error.code() is grpc.StatusCode.OUT_OF_RANGE:
                position = Position()
        except _Unjoined as error:
            problem = str(error)
        except OutOfRange as error:
            problem, position = str(error), Position()
        await on_serving(False)
        failures = 0 if time.monotonic() - started > STEADY else failures + 1
        if problem or not _due(credentials):
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**failures) * random.uniform(0.5, 1)  # noqa: S311  # jitter
            log.warning("journal out of reach", reason=problem or "the stream ended", retry_seconds=round(pause, 1))
            await asyncio.sleep(pause)


class _Unjoined(Exception):
    """The join folder is not there yet."""


def _due(credentials: Credentials | None) -> bool:
    return credentials is not None and time.monotonic() >= credentials.renew_time


async def _current(settings: Settings, held: Credentials | None) -> Credentials:
    """The held credentials while they are good for this network, else new ones under a fresh key."""
    try:
        join = await asyncio.to_thread(JoinFolder.read, settings.join_dir)
    except Misconfigured as error:
        raise _Unjoined(str(error)) from error
    if held and held.join == join and not _due(held):
        return held
    response, own = await enrol(settings.enrolment, join, new_key())
    life = (response.expiry_time.ToDatetime(UTC) - datetime.now(UTC)).total_seconds()
    log.info("enrolled", role="reporter", certificate_seconds=round(life))
    return Credentials(join, own, time.monotonic() + RENEW_AT * max(life, 1.0))


async def _watch(
    settings: Settings,
    credentials: Credentials,
    position: Position,
    on_run: OnRun,
    on_serving: Callable[[bool], Awaitable[None]],
    on_entry: Callable[[Facts], None],
) -> None:
    """Reads entries until the stream ends or the certificate is to be renewed."""
    async with mutual_channel(settings.aggregator, credentials.join.ca_pem, credentials.own) as channel:
        stub = history_pb2_grpc.HistoryServiceStub(channel)
        request = history_pb2.WatchHistoryRequest(after_sequence=position.sequence)
        stream = stub.WatchHistory(request, timeout=max(credentials.renew_time - time.monotonic(), 0.1))
        try:
            async for message in stream:
                for entry in message.entries:
                    if entry.sequence == request.after_sequence + 1:
                        await on_serving(True)
                    ended = _take(position, entry)
                    on_entry(position.facts)
                    if ended:
                        await on_run(ended, stub)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED or not _due(credentials):
                raise


def _take(position: Position, entry: history_pb2.Entry) -> RunFacts | None:
    if entry.sequence != position.sequence + 1:
        raise OutOfRange(f"the journal's next entry must be {position.sequence + 1}, got {entry.sequence}")
    position.sequence = entry.sequence
    try:
        return position.facts.apply(entry)
    except FedfraudError as error:
        log.error("entry not understood", sequence=entry.sequence, reason=str(error))
        return None
