"""Transport: rounds of banks that answer with their vector unchanged, beside raw gRPC and addition at memory speed.

    .venv/bin/python benchmarks/transport.py                       # models of 16 KB to 100 MB, ten banks
    .venv/bin/python benchmarks/transport.py --gigabyte            # and 1 GB with two banks: 35 GB of disk, minutes
    .venv/bin/python benchmarks/transport.py --sizes 100M --banks 30
    .venv/bin/python benchmarks/transport.py --sizes 100M --banks 200 --rounds 1 --memory-alone
    .venv/bin/python benchmarks/transport.py --sizes 10M --frameworks "Flower simulation,NVFlare simulator"

A size is the model's as float32; a plain contribution is as long (fedfraud/packing.py), and the histograms of 64 KB
that every round has beside it. The aggregator is a process of the product, over mutual TLS, with its journal and files;
the banks stand in (benchmarks/stand_in.py). A round lasts from the moment when all have one instruction to the moment
when all have the next: download, hashes, upload, file and fsync, checks, sum, the new model; the first one, when no
bank knows its line, is not among them, nor is raw gRPC's. Banks are served side by side where the first receipt is near
the last. Raw gRPC moves the same bytes down and up on as many connections, writes and fsyncs what comes up, in the
clear and under the project's own TLS, and once more in the clear with the words of 8 bytes that are added: a
contribution of twice the model, which is the workload that is aimed at. A share is raw gRPC's seconds a round over
ours; the last lines say which is which, and whether the aims are held. With three sizes or more a line is fitted to our
seconds a round. Addition is numpy's of such words in memory. CPU is of both ends. A rate is bytes of models and
contributions a second.

With `--memory-alone` nothing runs beside ours, and the banks fetch into memory that they share: each takes its
contribution's bytes of the disk and hardly any memory, so that the aggregator's peak is measured with hundreds of them.

Flower and NVFlare, in environments of their own (peers/set_up.py), do the same with a model of one vector: a client
sends it back as it came, nothing is trained or scored. A round is the median from the second on, of three; CPU and
memory are of the whole process tree.
"""

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import ending, frameworks, options, raw_grpc
from benchmarks.measuring import Report, Row, add_json, beside_aim, cpu_seconds, growth, memory, number, printed
from benchmarks.raw_grpc import Cost
from benchmarks.stand_in import Shared, aggregator, manifest_of_bytes, rounds, stand_ins, training_layout
from fedfraud.manifest import Manifest
from fedfraud.packing import WORD_BYTES, Packing

SIZES = {"16K": 1 << 14, "1M": 10**6, "10M": 10**7, "100M": 10**8, "1G": 1 << 30}
_RESERVE_BYTES = 10**10
"""Of the disk, which no case may touch."""
TWICE, SAME, SAME_TLS = "share, twice the model up", "share, our bytes", "share, our bytes and TLS"
"""The columns of rounds beside raw gRPC's."""
AIMED_AT = ("100M", 10)
"""The model and the banks of the aims of rate and CPU; that of memory is of all."""
SHARE_AIM, CPU_AIM = 0.5, 10.0
"""At least, at most."""


async def federation(
    folder: Path, manifest: Manifest, banks: int, count: int, shared: Shared | None = None
) -> tuple[list[Cost], list[tuple[float, float]], float]:
    """Training rounds of the aggregator, in each when the first and the last bank had its receipt, and the peak in
    MB."""
    async with aggregator(folder, manifest, banks) as serving, stand_ins(serving, banks, shared) as joined:
        for bank in joined:
            await bank.join()
        told = await asyncio.gather(*(bank.round() for bank in joined))
        told = await rounds(joined, told)  # the scaler's
        costs, receipts = [], []
        for _ in range(count + 1):
            began, server, own = time.perf_counter(), cpu_seconds([serving.pid]), time.process_time()
            told = await rounds(joined, told)
            seconds = time.perf_counter() - began
            costs.append(Cost(seconds, cpu_seconds([serving.pid]) - server, time.process_time() - own))
            answered = [bank.answered - began for bank in joined]
            receipts.append((min(answered), max(answered)))
        return costs[1:], receipts[1:], memory(serving.pid, "VmHWM")  # in the first one no bank knows its line


def addition(manifest: Manifest, banks: int) -> float:
    """Seconds in which contributions that are in memory are added."""
    words = np.ones(manifest.parameter_count, np.uint64)
    total = np.zeros_like(words)
    began = time.perf_counter()
    for _ in range(banks):
        total += words
    return time.perf_counter() - began


def disk_bytes(manifest: Manifest, banks: int, count: int) -> int:
    """What the rounds leave on the disk, and what one of them needs besides."""
    model = 4 * manifest.parameter_count  # a sum is twice that, and so is the momentum
    return 5 * model * (count + 2) + model * banks


def fits(report: Report, folder: Path, name: str, banks: int, count: int) -> bool:
    """Whether the disk has room for one size; says so where it has none."""
    needed = disk_bytes(manifest_of_bytes(SIZES[name]), banks, count) + _RESERVE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        report.find(f"{name} was left out: it must have {needed / 1e9:.0f} GB of disk, there are {free / 1e9:.0f}")
    return free >= needed


async def measure_memory(report: Report, folder: Path, name: str, banks: int, count: int) -> None:
    """One size: the aggregator's memory."""
    manifest = manifest_of_bytes(SIZES[name])
    with tempfile.TemporaryDirectory(dir=folder, prefix="transport-") as scratch:
        ours, _, peak = await federation(Path(scratch) / "ours", manifest, banks, count, Shared())
    report.add(
        "memory",
        {
            "model": name,
            "banks": banks,
            "rounds": count,
            "s a round": median(ours, lambda cost: cost.seconds),
            "aggregator peak MB": peak,
            "allowed MB": allowed_mb(manifest),
        },
    )


def allowed_mb(manifest: Manifest) -> float:
    """Four models and 200 MB."""
    return 4 * 4 * manifest.parameter_count / 1e6 + 200


async def measure(report: Report, folder: Path, name: str, banks: int, count: int) -> None:
    """One size: the aggregator, then raw gRPC."""
    manifest = manifest_of_bytes(SIZES[name])
    down = 4 * manifest.parameter_count
    layout = training_layout(manifest)
    up = Packing(layout).size
    with tempfile.TemporaryDirectory(dir=folder, prefix="transport-") as scratch:
        ours, receipts, peak = await federation(Path(scratch) / "ours", manifest, banks, count)
        shutil.rmtree(Path(scratch) / "ours")
        clear, _ = await raw_grpc.exchange(Path(scratch) / "raw", banks, down, up, count, tls=False)
        tls, _ = await raw_grpc.exchange(Path(scratch) / "tls", banks, down, up, count, tls=True)
        words = WORD_BYTES * layout.length
        whole, _ = await raw_grpc.exchange(Path(scratch) / "words", banks, down, words, count, tls=False)
    moved = banks * (down + up)
    seconds, raw, raw_tls, raw_words = (median(costs, lambda cost: cost.seconds) for costs in (ours, clear, tls, whole))
    server, own = (median(ours, part) for part in (lambda c: c.server, lambda c: c.callers))
    report.add(
        "rounds",
        {
            "model": name,
            "banks": banks,
            "rounds": count,
            "s a round": seconds,
            "first receipt s": statistics.median(first for first, _ in receipts),
            "last receipt s": statistics.median(last for _, last in receipts),
            "MB/s": moved / 1e6 / seconds,
            "CPU s a round": server + own,
            "of it aggregator": server,
            "aggregator peak MB": peak,
            "allowed MB": allowed_mb(manifest),
            "raw s, our bytes": raw,
            "raw CPU s, our bytes": median(clear, lambda c: c.server + c.callers),
            "raw s, our bytes and TLS": raw_tls,
            "raw CPU s, our bytes and TLS": median(tls, lambda c: c.server + c.callers),
            "raw s, twice the model up": raw_words,
            TWICE: raw_words / seconds,
            SAME: raw / seconds,
            SAME_TLS: raw_tls / seconds,
            "addition s": addition(manifest, banks),
        },
    )


def beside(report: Report, name: str, size: str, banks: int, limit: float) -> None:
    """The same by a framework, after ours."""
    ours = report.tables.get("rounds", [])
    own = next((row["s a round"] for row in ours if (row["model"], row["banks"]) == (size, banks)), None)
    parameters = manifest_of_bytes(SIZES[size]).parameter_count
    row = frameworks.unchanged(name, banks, parameters, limit, float(own) if own else None)
    report.add("frameworks", {"model": size, **row})


def hold(report: Report, rows: Sequence[Row]) -> None:
    """Each share in a sentence, and what was measured beside the aims."""
    aimed = [row for row in rows if (row["model"], row["banks"]) == AIMED_AT]
    for row in aimed:
        share, same, tls = (number(row, name) for name in (TWICE, SAME, SAME_TLS))
        report.find(
            "the aim's workload, a contribution of twice the model (ours has half of that on the wire): of the rate of "
            f"raw gRPC in the clear with write and fsync, ours has {beside_aim(share, SHARE_AIM, least=True)}"
        )
        report.find(
            "stricter than the aim, the very bytes that our banks send, in the clear with write and fsync: of raw "
            f"gRPC's rate, ours has {printed(same)}; at least {printed(SHARE_AIM)}: "
            f"{'yes' if same >= SHARE_AIM else 'no'}"
        )
        report.find(f"the same bytes under the TLS that ours has: of raw gRPC's rate, ours has {printed(tls)}; no aim")
        report.find(f"CPU s a round, of both ends: {beside_aim(number(row, 'CPU s a round'), CPU_AIM)}")
    if not aimed:
        report.find(f"the aims of rate and CPU are of {AIMED_AT[0]} with {AIMED_AT[1]} banks, not measured here")
    for row in (*rows, *report.tables.get("memory", [])):
        peak, allowed = number(row, "aggregator peak MB"), number(row, "allowed MB")
        report.find(f"{row['model']}, {row['banks']} banks: aggregator's peak MB {beside_aim(peak, allowed)}")


def by_size(report: Report, rows: Sequence[Row]) -> None:
    """How a round grows with the model, where as many banks had three sizes or more."""
    for banks in dict.fromkeys(row["banks"] for row in rows):
        points = [(SIZES[str(row["model"])] / 1e6, number(row, "s a round")) for row in rows if row["banks"] == banks]
        if len(points) > 2:
            report.find(growth(points, f"a round of {banks} banks", "MB of the model"))


def median(costs: list[Cost], part: Callable[[Cost], float]) -> float:
    """Of one part over the rounds."""
    return statistics.median(map(part, costs))


def main() -> None:
    """Prints a row a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = options.several(options.one_of(SIZES))
    parser.add_argument("--sizes", type=sizes, default="16K,1M,10M,100M", help=f"of {', '.join(SIZES)}, with commas")
    parser.add_argument("--banks", type=options.banks, default=10)
    parser.add_argument("--rounds", type=options.rounds, default=5)
    parser.add_argument("--gigabyte", action="store_true", help="also 1 GB, with two banks, two rounds")
    parser.add_argument(
        "--memory-alone",
        action="store_true",
        help="the aggregator's memory, with hundreds of banks if the disk has room",
    )
    parser.add_argument(
        "--folder", type=options.folder, default="runs", help="on the disk that is measured (not a tmpfs)"
    )
    frameworks.add_options(parser, frameworks.ENVIRONMENTS)
    parser.add_argument("--framework-sizes", type=sizes, default="10M", help="that the frameworks have, of the same")
    add_json(parser)
    asked = parser.parse_args()
    if asked.memory_alone and asked.frameworks:
        parser.error("--memory-alone must have no --frameworks beside it")
    report = Report("transport", f"{asked.banks} banks answer with their vector unchanged, plain")
    report.machine |= frameworks.versions(asked.frameworks)
    report.begin()
    cases = [(name, asked.banks, asked.rounds) for name in asked.sizes] + [("1G", 2, 2)] * asked.gigabyte
    for case in cases:
        if fits(report, asked.folder, *case):
            uvloop.run((measure_memory if asked.memory_alone else measure)(report, asked.folder, *case))
    for size in asked.framework_sizes:
        for name in asked.frameworks:
            beside(report, name, size, asked.banks, asked.limit)
    rows = report.tables.get("rounds", [])
    hold(report, rows)
    by_size(report, rows)
    report.end(asked.json)
    if not any(row.get("s a round") for table in report.tables.values() for row in table):
        raise SystemExit("one size must be measured at least, none was: the lines above say why")
    if asked.gigabyte and not any(row["model"] == "1G" for row in (*rows, *report.tables.get("memory", []))):
        raise SystemExit("1G was asked for and left out: the lines above say why")


if __name__ == "__main__":
    ending.run(main)
