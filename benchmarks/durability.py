"""What durability costs: an empty round with fsync and without, in turn, and how soon a killed aggregator serves again.

    .venv/bin/python benchmarks/durability.py --rounds 200

Ten banks driven by hand in one process answer at once, over real mutual TLS, with contributions computed beforehand: a
train segment of 32 KB and the score histograms of 64 KB that every round has beside it. A round lasts from the moment
when all ten have one instruction to the moment when all have the next, the banks' own work with it. Two aggregators of
the product as it is take turns, block by block; there is no switch to leave fsync out, so the process of the second one
replaces `os.fsync` by nothing and sets SQLite's `synchronous` to OFF from outside. Rounds are plain: what masking costs
is measured by benchmarks/masking.py. A start is that of `python -m services.aggregator serve` on the journal of the
first one, killed in its run, until it says that it serves. Other work on the machine's disk shows in the first row.
"""

import argparse
import asyncio
import multiprocessing
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import ending, options
from fedfraud.v1 import federation_pb2
from services.aggregator import journal_file
from services.aggregator.server import serve
from services.aggregator.settings import Settings
from tests.federation.hands import Aggregator, HandBank, Upload

BANKS, BLOCK, WARM_UP = 10, 25, 5
_PATIENCE = 120.0


def aggregate(settings: Settings, fsync: bool, ready: "Connection[Any, tuple[int, int]]") -> None:
    """One aggregator process, until it is killed."""
    if not fsync:
        leave_fsync_out()
    uvloop.run(serve(settings, asyncio.Event(), lambda *ports: ready.send(ports)))


def leave_fsync_out() -> None:
    """From outside: the product has no such switch."""
    opened = journal_file._open

    def careless(path: Path) -> sqlite3.Connection:
        database = opened(path)
        database.execute("PRAGMA synchronous = OFF")
        return database

    journal_file._open = careless
    os.fsync = lambda fd: None


@dataclass
class Side:
    """An aggregator and its ten banks."""

    banks: list[HandBank]
    uploads: dict[str, Upload]
    seconds: list[float]

    async def block(self, rounds: int) -> None:
        """So many rounds in a row, each timed; the first of them only warms up."""
        instructions = await asyncio.gather(*(bank.round() for bank in self.banks))
        for number in range(rounds + 1):
            began = time.perf_counter()
            answers = (self._answer(bank, i) for bank, i in zip(self.banks, instructions, strict=True))
            await asyncio.gather(*answers)
            if number == rounds:
                return  # the next instruction is taken when it is this side's turn again
            instructions = await asyncio.gather(*(bank.round() for bank in self.banks))
            if number:
                self.seconds.append(time.perf_counter() - began)

    async def _answer(self, bank: HandBank, instruction: federation_pb2.RoundInstruction) -> None:
        made = self.uploads.get(kind := f"{bank.seat} {list(instruction.segments)}")
        if made is None:
            made = self.uploads[kind] = bank.upload(instruction, 0.001, 1)
        upload = replace(made, key=instruction.key, model_sha256=instruction.model.model_sha256)
        await bank.submit(upload.messages)


@asynccontextmanager
async def side(folder: Path, fsync: bool) -> AsyncIterator[Side]:
    """The aggregator's process, with its banks joined and the run begun."""
    settings = Settings(
        data_dir=folder / "aggregator",
        join_dir=folder / "join",
        listen="127.0.0.1:0",
        enrolment_listen="127.0.0.1:0",
        hostnames="127.0.0.1,localhost",
        expected_banks=BANKS,
        quorum=BANKS,
        rounds=10_000,
        round_deadline=3600.0,
        aggregation="plain",
    )
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=aggregate, args=(settings, fsync, theirs), daemon=True)
    process.start()
    try:
        if not await asyncio.to_thread(ours.poll, _PATIENCE):
            raise SystemExit("the aggregator must start")
        addresses = [f"127.0.0.1:{port}" for port in ours.recv()]
        async with AsyncExitStack() as stack:
            running = Aggregator(settings, *addresses)
            banks = [await stack.enter_async_context(running.bank()) for _ in range(BANKS)]
            for bank in banks:
                await bank.join()
            yield Side(banks, {}, [])
            process.kill()
    finally:
        process.kill()
        process.join()


def start_seconds(folder: Path) -> float:
    """From the start of an aggregator's process on the journal until it says that it serves; then it is killed."""
    environment = {
        **os.environ,
        "DATA_DIR": str(folder / "aggregator"),
        "JOIN_DIR": str(folder / "join"),
        "LISTEN": "127.0.0.1:0",
        "ENROLMENT_LISTEN": "127.0.0.1:0",
        "EXPECTED_BANKS": str(BANKS),
        "AGGREGATION": "plain",
    }
    command = [sys.executable, "-m", "services.aggregator", "serve"]
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = []
    try:
        for line in process.stdout or ():
            said.append(line)
            if "serving" in line:
                break
        seconds = time.perf_counter() - began
    finally:
        process.kill()
        process.communicate()
    if "serving" not in said[-1]:
        raise SystemExit(f"an aggregator must serve again, it said:\n{''.join(said)}")
    return seconds


def fsync_seconds(folder: Path) -> float:
    """The median of 200 fsyncs of a new file of 32 KB."""
    taken = []
    for _ in range(200):
        with (folder / "probe").open("wb") as file:
            file.write(bytes(1 << 15))
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


async def measure(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of each round, by side; the sides take turns."""
    async with side(folder / "on", True) as durable, side(folder / "off", False) as careless:
        for each in (durable, careless):
            await each.block(WARM_UP)
            each.seconds.clear()
        while len(careless.seconds) < rounds:
            for each in (durable, careless):
                await each.block(BLOCK)
        return {"on": durable.seconds, "off": careless.seconds}


def main() -> None:
    """Prints the machine, one row a side, and the starts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=options.rounds, default=200, help="of each side")
    parser.add_argument("--starts", type=options.times, default=5, help="how often the aggregator is started again")
    parser.add_argument("--folder", type=options.folder, default=".", help="on the disk that is measured (not a tmpfs)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="durability-") as name:
        folder = Path(name)
        versions = f"Python {platform.python_version()}, grpcio {grpc.__version__}, SQLite {sqlite3.sqlite_version}"
        print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, {versions}")
        print(f"an fsync of a new file of 32 KB: {1000 * fsync_seconds(folder):.2f} ms\n")
        print("| fsync | rounds | median ms | 95 % below, ms |\n|---|---|---|---|")
        for which, seconds in uvloop.run(measure(folder, arguments.rounds)).items():
            milliseconds = 1000 * np.array(seconds)
            high = np.percentile(milliseconds, 95)
            print(f"| {which} | {len(seconds)} | {np.median(milliseconds):.1f} | {high:.1f} |")
        starts = sorted(start_seconds(folder / "on") for _ in range(arguments.starts))
        committed = len(list((folder / "on" / "aggregator" / "vectors").glob("*/*.sum.u64")))
        print(
            f"\nfrom an aggregator's start on the journal of {committed} rounds until it serves, {len(starts)} times: "
            f"median {statistics.median(starts):.2f} s, longest {starts[-1]:.2f} s"
        )


if __name__ == "__main__":
    ending.run(main)
