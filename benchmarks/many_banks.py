"""Many banks: how long a round takes and what a bank costs the aggregator in memory, from 10 to 1,000 banks.

    .venv/bin/python benchmarks/many_banks.py
    .venv/bin/python benchmarks/many_banks.py --banks 10,100,1000 --rounds 3
    .venv/bin/python benchmarks/many_banks.py --banks 10,50 --frameworks "Flower simulation,NVFlare simulator"

A model of 16 KB, plain; the banks stand in (benchmarks/stand_in.py), each with its own key, certificate, seat and mTLS
connection, all in one process. They join at once. Beside it as many bare mTLS channels with an open stream each, to a
server that does nothing else, and that then carry the same bytes as in two rounds. Memory is the resident one of the
server's process; a bank's is what was added since before the first of them connected: with few it is mostly what a
process fills once. The aim, with the most banks, is at most twice a bare channel's. A line is fitted to the seconds of
a round, and `order` is the slope of their logarithms: up to 1 a round grows no worse than linearly.

Flower's simulation, whose clients share a process for each core, and NVFlare's simulator, with a process a client, do
the same with a model of one vector, as in transport.py, with the numbers of banks that they can.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import uvloop

from benchmarks import ending, frameworks, options, raw_grpc
from benchmarks.measuring import Report, Row, add_json, beside_aim, cpu_seconds, growth, memory, number, printed
from benchmarks.options import several
from benchmarks.stand_in import aggregator, manifest_of_bytes, rounds, stand_ins, training_layout
from fedfraud.packing import Packing

MODEL_BYTES = 1 << 14
TIMES_AIM = 2.0
"""At most: a bank's memory at the aggregator beside a bare channel's."""
TIMES = {
    "times bare, joined": ("KB a bank, joined", "bare KB a channel"),
    "times bare, after rounds": ("KB a bank, after rounds", "bare KB, after rounds"),
    "times bare, peak": ("KB a bank, peak", "bare KB, peak"),
}
FRAMEWORKS = {"Flower simulation": (10, 100, 1000), "NVFlare simulator": (10, 50)}
"""With how many banks each runs. NVFlare's takes 215 MB a bank, and with a hundred it got stuck."""


async def federation(folder: Path, banks: int, count: int) -> Row:
    """Joins so many banks and times training rounds."""
    manifest = manifest_of_bytes(MODEL_BYTES)
    async with aggregator(folder, manifest, banks) as serving:
        empty, began = memory(serving.pid), time.perf_counter()
        async with stand_ins(serving, banks) as there:
            enrolled = time.perf_counter() - began
            began = time.perf_counter()
            await asyncio.gather(*(bank.join() for bank in there))
            told = await asyncio.gather(*(bank.round() for bank in there))
            joined, present = time.perf_counter() - began, memory(serving.pid)
            told = await rounds(there, told)  # the scaler's
            told = await rounds(there, told)  # in this one no bank knows its line
            seconds, server, own = [], cpu_seconds([serving.pid]), time.process_time()
            for _ in range(count):
                began = time.perf_counter()
                told = await rounds(there, told)
                seconds.append(time.perf_counter() - began)
            return {
                "banks": banks,
                "enrol s": enrolled,
                "join s": joined,
                "s a round": statistics.median(seconds),
                "longest s": max(seconds),
                "aggregator CPU s a round": (cpu_seconds([serving.pid]) - server) / count,
                "banks CPU s a round": (time.process_time() - own) / count,
                "aggregator MB, empty": empty,
                "KB a bank, joined": 1000 * (present - empty) / banks,
                "KB a bank, after rounds": 1000 * (memory(serving.pid) - empty) / banks,
                "KB a bank, peak": 1000 * (memory(serving.pid, "VmHWM") - empty) / banks,
            }


async def bare(folder: Path, channels: int) -> Row:
    """KB of a server for each channel with mutual TLS that holds a stream open, before and after it carries a round's
    bytes."""
    manifest = manifest_of_bytes(MODEL_BYTES)
    up = bytes(Packing(training_layout(manifest)).size)
    async with (
        raw_grpc.serving(folder, 4 * manifest.parameter_count, tls=True) as (pid, line),
        AsyncExitStack() as stack,
    ):
        empty = memory(pid)
        lines: list[Any] = [await stack.enter_async_context(line.channel()) for _ in range(channels)]
        held = [channel.unary_stream("/Raw/hold")(b"") for channel in lines]
        await asyncio.gather(*(call.read() for call in held))
        present = memory(pid)
        for _ in range(2):
            await asyncio.gather(*(raw_grpc.call(channel, up) for channel in lines))
        return {
            "bare KB a channel": 1000 * (present - empty) / channels,
            "bare KB, after rounds": 1000 * (memory(pid) - empty) / channels,
            "bare KB, peak": 1000 * (memory(pid, "VmHWM") - empty) / channels,
        }


def measure(report: Report, folder: Path, banks: int, count: int) -> None:
    """One number of banks."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="many-banks-") as scratch:
        ours = uvloop.run(federation(Path(scratch) / "ours", banks, count))
        beside = uvloop.run(bare(Path(scratch) / "bare", banks))
    times = {name: number(ours, own) / number(beside, other) for name, (own, other) in TIMES.items()}
    report.add("banks", {**ours, **beside, **times})


def beside(report: Report, name: str, banks: int, limit: float) -> None:
    """The same by a framework, after ours."""
    own = next(number(row, "s a round") for row in report.tables["banks"] if row["banks"] == banks)
    parameters = manifest_of_bytes(MODEL_BYTES).parameter_count
    report.add("frameworks", frameworks.unchanged(name, banks, parameters, limit, own))


def hold(report: Report) -> None:
    """A bank of the most of them beside the aim, and how dear one was in any row."""
    most = max(report.tables["banks"], key=lambda row: number(row, "banks"))
    for name in TIMES:
        said = beside_aim(number(most, name), TIMES_AIM)
        dearest = max(report.tables["banks"], key=lambda row: number(row, name))
        of_all = f"{printed(number(dearest, name))} with {dearest['banks']}"
        report.find(f"aggregator's memory a bank, {name}: with {most['banks']} banks {said}; the most is {of_all}")


def left_out(report: Report, name: str, asked: Sequence[int]) -> None:
    """Says with how many of the banks that were asked for a framework did not run."""
    if others := [str(banks) for banks in asked if banks not in FRAMEWORKS[name]]:
        known = ", ".join(map(str, FRAMEWORKS[name]))
        report.find(f"{name} was left out with {', '.join(others)} banks: it is measured with {known}")


def main() -> None:
    """Prints a row a number of banks, and the fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--banks", type=several(options.banks), default="10,50,100,200,500,1000", help="how many, with commas"
    )
    parser.add_argument("--rounds", type=options.rounds, default=5)
    parser.add_argument(
        "--folder", type=options.folder, default="runs", help="on the disk that is measured (not a tmpfs)"
    )
    frameworks.add_options(parser, FRAMEWORKS)
    add_json(parser)
    asked = parser.parse_args()
    report = Report("many banks", f"a model of {MODEL_BYTES} bytes, plain, {asked.rounds} rounds")
    report.machine |= frameworks.versions(name for name in asked.frameworks if {*FRAMEWORKS[name]} & {*asked.banks})
    report.begin()
    for banks in asked.banks:
        measure(report, asked.folder, banks, asked.rounds)
    for name in asked.frameworks:
        for banks in FRAMEWORKS[name]:
            if banks in asked.banks:
                beside(report, name, banks, asked.limit)
        left_out(report, name, asked.banks)
    rows = report.tables["banks"]
    if len(rows) > 1:
        points = [(number(row, "banks"), number(row, "s a round")) for row in rows]
        report.find(growth(points, "a round", "bank"))
    hold(report)
    report.end(asked.json)


if __name__ == "__main__":
    ending.run(main)
