"""The operator's commands: start, stop, status, list, lapse and revoke. Each enrols anew, for minutes."""

import argparse
import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import grpc

from fedfraud.channel import mutual_channel
from fedfraud.enrolment import JoinFolder, enrol
from fedfraud.identity import new_key
from fedfraud.v1 import operation_pb2, operation_pb2_grpc
from services.aggregator.settings import OperatorSettings

_TIMEOUT = 30.0


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A type for argparse: refuses what is not a whole number from `least` to `most`."""

    def parse(text: str) -> int:
        if not text.lstrip("-").isdecimal() or not least <= int(text) <= most:
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
    commands.add_parser("status", help="say what the network does now")
    commands.add_parser("list", help="list the seats")
    lapse = commands.add_parser("lapse", help="let an absent seat's shard go to another")
    lapse.add_argument("seat")
    revoke = commands.add_parser("revoke", help="shut a seat out for good")
    revoke.add_argument("seat")
    revoke.add_argument("--reason", default="", help="why, for the journal")


def main(arguments: argparse.Namespace, settings: OperatorSettings) -> int:
    """Runs one command; a refusal is one line and exit status 1."""
    try:
        print(asyncio.run(_command(arguments, settings)))
    except grpc.aio.AioRpcError as error:
        print(f"refused: {error.code().name}: {error.details()}")
        return 1
    return 0


async def _command(arguments: argparse.Namespace, settings: OperatorSettings) -> str:
    join = JoinFolder.read(settings.join_dir)
    _, own = await enrol(settings.enrolment, join, new_key())
    async with mutual_channel(settings.aggregator, join.ca_pem, own) as channel:
        stub = operation_pb2_grpc.OperationServiceStub(channel)
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
                return _status(await stub.GetStatus(operation_pb2.GetStatusRequest(), timeout=_TIMEOUT))
            case "list":
                return _seats(await stub.ListSeats(operation_pb2.ListSeatsRequest(), timeout=_TIMEOUT))
            case "lapse":
                await stub.LapseSeat(operation_pb2.LapseSeatRequest(seat=arguments.seat), timeout=_TIMEOUT)
                return f"{arguments.seat} has lapsed"
            case _:
                revoke = operation_pb2.RevokeSeatRequest(seat=arguments.seat, reason=arguments.reason)
                await stub.RevokeSeat(revoke, timeout=_TIMEOUT)
                return f"{arguments.seat} is revoked"


def _status(status: operation_pb2.GetStatusResponse) -> str:
    lines = [f"banks present  {status.present_count}"]
    if status.run_id:
        lines.append(f"run            {status.run_id}, {status.committed_count} of {status.round_count} rounds")
    if status.HasField("key"):
        lines.append(f"round          {status.key.round}, attempt {status.key.attempt}")
        lines.append(f"answered       {', '.join(status.answered) or 'nobody yet'}")
        lines.append(f"waiting for    {', '.join(status.awaited) or 'nobody'}")
    elif status.waiting_for:
        lines.append(f"waiting for    {status.waiting_for}")
    return "\n".join(lines)


def _seats(response: operation_pb2.ListSeatsResponse) -> str:
    lines = [f"{'seat':<12}{'state':<10}{'lease':>6}{'slot':>6}  certificate until"]
    for seat in response.seats:
        state = operation_pb2.SeatState.Name(seat.state).removeprefix("SEAT_STATE_").lower()
        until = seat.expiry_time.ToDatetime(UTC)
        expired = " (expired)" if until < datetime.now(UTC) else ""
        numbers = f"{seat.fencing_number:>6}{seat.slot or '-':>6}"
        lines.append(f"{seat.seat:<12}{state:<10}{numbers}  {until:%Y-%m-%d %H:%M} UTC{expired}")
    return "\n".join(lines)
