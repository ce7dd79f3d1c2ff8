"""The operator's commands: start, stop, status, list, lapse and revoke. Each enrols anew, for minutes."""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypeAlias

import grpc
import uvloop

from fedfraud.channel import mutual_channel
from fedfraud.enrolment import JoinFolder, enrol
from fedfraud.identity import new_key
from fedfraud.v1 import operation_pb2, operation_pb2_grpc
from services.aggregator.screen import as_json, screen
from services.aggregator.settings import OperatorSettings

_TIMEOUT = 30.0
_WATCH_SECONDS = 1.0
_CLEAR = "\x1b[2J\x1b[H"
"""What empties a terminal."""
Stub: TypeAlias = "operation_pb2_grpc.OperationServiceAsyncStub"


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A type for argparse: refuses what is not a whole number from `least` to `most`."""

    def parse(text: str) -> int:
        if not text.removeprefix("-").isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, got {text!r}")
        return int(text)

    return parse


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Declares the commands and what they take."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    start = commands.add_parser("start", help="start another run with the banks that are present")
    start.add_argument(
        "--rounds",
        type=whole_number(0, 10_000),
        metavar="N",
        default=0,
        help="training rounds (default: the aggregator's setting)",
    )
    start.add_argument("--recipe", default="", help="recipe (default: the aggregator's setting)")
    start.add_argument(
        "--seed", type=whole_number(0, 2**32 - 1), metavar="N", help="seed (default: the aggregator's setting)"
    )
    commands.add_parser("stop", help="end the run after its open round")
    status = commands.add_parser("status", help="say what the network does now, on one screen")
    status.add_argument("--json", action="store_true", help="as one JSON object")
    status.add_argument("--watch", action="store_true", help="again each second, until Ctrl-C")
    commands.add_parser("list", help="list the seats")
    lapse = commands.add_parser("lapse", help="let an absent seat's shard go to another")
    lapse.add_argument("seat")
    revoke = commands.add_parser("revoke", help="shut a seat out for good")
    revoke.add_argument("seat")
    revoke.add_argument("--reason", default="", help="why, for the journal")


def main(arguments: argparse.Namespace, settings: OperatorSettings) -> int:
    """Runs one command; a refusal is one line and exit status 1."""
    try:
        uvloop.run(_watch(arguments, settings) if getattr(arguments, "watch", False) else _once(arguments, settings))
    except KeyboardInterrupt:
        return 130
    except grpc.aio.AioRpcError as error:
        print(f"refused: {error.code().name}: {error.details()}")
        return 1
    return 0


@asynccontextmanager
async def _operator(settings: OperatorSettings) -> AsyncIterator[Stub]:
    """The aggregator as an operator reaches it, under a certificate of its own."""
    join = JoinFolder.read(settings.join_dir)
    _, own = await enrol(settings.enrolment, join, new_key())
    async with mutual_channel(settings.aggregator, join.ca_pem, own) as channel:
        yield operation_pb2_grpc.OperationServiceStub(channel)


async def _once(arguments: argparse.Namespace, settings: OperatorSettings) -> None:
    async with _operator(settings) as stub:
        print(await _command(arguments, stub))


async def _watch(arguments: argparse.Namespace, settings: OperatorSettings) -> None:
    """The same again and again; a certificate lives for minutes, so another one is got when it has ended."""
    while True:
        try:
            async with _operator(settings) as stub:
                while True:
                    shown = await _command(arguments, stub)
                    print(shown if arguments.json else f"{_CLEAR}{shown}", flush=True)
                    await asyncio.sleep(_WATCH_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
                raise
            await asyncio.sleep(_WATCH_SECONDS)


async def _command(arguments: argparse.Namespace, stub: Stub) -> str:
    match arguments.command:
        case "start":
            request = operation_pb2.StartRunRequest(
                round_count=arguments.rounds, recipe=arguments.recipe, seed=arguments.seed
            )
            started = await stub.StartRun(request, timeout=_TIMEOUT)
            return f"run {started.run_id} begins"
        case "stop":
            stopped = await stub.StopRun(operation_pb2.StopRunRequest(), timeout=_TIMEOUT)
            return f"run {stopped.run_id} ends after its open round"
        case "status":
            status = await stub.GetStatus(operation_pb2.GetStatusRequest(), timeout=_TIMEOUT)
            return json.dumps(as_json(status)) if arguments.json else screen(status)
        case "list":
            return _seats(await stub.ListSeats(operation_pb2.ListSeatsRequest(), timeout=_TIMEOUT))
        case "lapse":
            await stub.LapseSeat(operation_pb2.LapseSeatRequest(seat=arguments.seat), timeout=_TIMEOUT)
            return f"{arguments.seat} has lapsed"
        case _:
            revoke = operation_pb2.RevokeSeatRequest(seat=arguments.seat, reason=arguments.reason)
            await stub.RevokeSeat(revoke, timeout=_TIMEOUT)
            return f"{arguments.seat} is revoked"


def _seats(response: operation_pb2.ListSeatsResponse) -> str:
    lines = [f"{'seat':<12}{'state':<10}{'lease':>6}{'slot':>6}  certificate until"]
    for seat in response.seats:
        state = operation_pb2.SeatState.Name(seat.state).removeprefix("SEAT_STATE_").lower()
        until = seat.expiry_time.ToDatetime(UTC)
        expired = " (expired)" if until < datetime.now(UTC) else ""
        numbers = f"{seat.fencing_number:>6}{seat.slot or '-':>6}"
        lines.append(f"{seat.seat:<12}{state:<10}{numbers}  {until:%Y-%m-%d %H:%M} UTC{expired}")
    return "\n".join(lines)
