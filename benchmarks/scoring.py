"""How fast a bank scores: rows a second by file, and the latency of `Score` over its Unix socket, call after call.

    .venv/bin/python benchmarks/scoring.py
    .venv/bin/python benchmarks/scoring.py --rows 100000 --calls 1000

Card payments of one simulated bank and a model of random weights: speed does not depend on what a model has learned.
The service is a process of its own, the caller is this one.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import ending, options
from benchmarks.measuring import Report, add_json
from fedfraud import fixed_point
from fedfraud.channel import scoring_channel
from fedfraud.feature_plan import PLANS
from fedfraud.identity import write_secret
from fedfraud.layout import count_codec
from fedfraud.manifest import Manifest
from fedfraud.model import RunState, initial_vector, model_sha256, to_bytes
from fedfraud.transactions import SCHEMAS
from fedfraud.v1 import scoring_pb2, scoring_pb2_grpc
from services.bank_client import features, kept_model
from services.bank_client.merchant_key import fingerprint
from services.bank_client.own_trade import Threshold
from services.bank_client.score_file import read_asked
from services.bank_client.score_inputs import read_inputs
from services.bank_client.settings import Settings

PLAN = PLANS["cards"]
MANIFEST = Manifest("cards", SCHEMAS["cards"], feature_plan=PLAN)
KEY = b"k" * 32
TEST_TIME = PLAN.start_time + PLAN.test_start * features.DAY


def payments(count: int) -> pa.Table:
    """Payments of all days of the plan, by a customer for each 100 of them, at 10,000 merchants."""
    draws = np.random.default_rng(1)
    times = PLAN.start_time + np.sort(draws.integers(0, PLAN.day_count * features.DAY, count))
    frauds = draws.random(count) < 0.01
    return pa.table(
        {
            "transaction_id": np.arange(count),
            "time": pa.array(times, pa.timestamp("s")),
            "customer_id": [f"c{number}" for number in draws.integers(0, max(count // 100, 1), count)],
            "merchant_id": [f"m{number}" for number in draws.integers(0, 10_000, count)],
            "amount": np.round(draws.gamma(2.0, 30.0, count), 2),
            "fraud": frauds.astype(np.int8),
            "fraud_known_at": pa.array(times + 7 * features.DAY, pa.timestamp("s")),
        }
    )


def bank(folder: Path, table: pa.Table) -> None:
    """A bank's folder: the payments before the test days, the merchants' key, and a kept model with counters."""
    times = table["time"].cast(pa.int64()).to_numpy()
    pq.write_table(table.filter(times < TEST_TIME), folder / "dataset.parquet")
    pq.write_table(table.filter(times >= TEST_TIME), folder / "week.parquet")
    write_secret(folder / "merchant.key", KEY)
    draws, codec = np.random.default_rng(2), count_codec(MANIFEST)
    counts = np.zeros((PLAN.bucket_count, PLAN.counted_days, 2), np.int64)
    used = draws.choice(PLAN.bucket_count, 9_000, replace=False)
    counts[used, :, 0] = draws.poisson(3.0, (9_000, PLAN.counted_days))
    words = codec.encode(counts)
    sha256 = hashlib.sha256(fixed_point.to_bytes(words)).digest()
    state = RunState((1.0,) * 15, (10.0,) * 15, 100_000, 1_000, 1e3, sha256)
    vector = initial_vector(MANIFEST, 7)
    threshold = Threshold(-3.0, 0.047, 10.0, 0.3, 0.5)
    variant = kept_model.Variant("federated", to_bytes(vector), model_sha256(MANIFEST, state, vector), threshold)
    kept_model.keep_counters(folder, sha256, words)
    kept = kept_model.KeptModel("run", MANIFEST, state, True, 10, fingerprint(KEY), (variant,))
    kept_model.keep(folder, kept)


def offline(report: Report, folder: Path) -> None:
    """Payments a second of each part of `score FILE`."""
    settings = Settings(data_dir=folder)
    inputs = read_inputs(settings)
    began = time.perf_counter()
    asked = read_asked(settings, inputs, folder / "week.parquet")
    rows, read = len(asked.ids), time.perf_counter() - began
    history = pq.read_metadata(folder / "dataset.parquet").num_rows
    what = "reading and features, the bank's payments among them"
    report.add("by file", {"what": what, "payments": rows + history, "payments a second": (rows + history) / read})
    for name, reasons in (("scores", 0), ("scores and reasons", 3)):
        began = time.perf_counter()
        for start in range(0, rows, 4_096):
            inputs.scorer.score(asked.features[start : start + 4_096], reasons)
        speed = rows / (time.perf_counter() - began)
        report.add("by file", {"what": name, "payments": rows, "payments a second": speed})


def online(report: Report, folder: Path, calls: int) -> None:
    """The latency of single calls, one after another, each of another payment."""
    rows = pq.read_table(folder / "week.parquet").slice(0, 2 * (calls + 100)).to_pylist()
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as short:
        socket = Path(short) / "own" / "s"
        words = ["env", f"DATA_DIR={folder}", f"SCORE_SOCKET={socket}", "LOG_LEVEL=warning"]
        serving = subprocess.Popen([*words, sys.executable, "-m", "services.bank_client", "serve-scores"], cwd=root)
        try:
            deadline = time.monotonic() + 120
            while not socket.exists() and serving.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            with scoring_channel(socket) as channel:
                stub = scoring_pb2_grpc.ScoringServiceStub(channel)
                for half, reasons in ((rows[: len(rows) // 2], 3), (rows[len(rows) // 2 :], 0)):
                    seconds = [_timed(stub, row, reasons) for row in half][100:]  # after warming up
                    median, late = np.percentile(seconds, [50, 99]) * 1e3
                    found = {
                        "reasons": reasons,
                        "calls": len(seconds),
                        "median ms": float(median),
                        "p99 ms": float(late),
                    }
                    report.add("over the socket", found)
        finally:
            serving.terminate()
            serving.wait(30)


def _timed(stub: scoring_pb2_grpc.ScoringServiceStub, row: dict[str, object], reasons: int) -> float:
    payment = scoring_pb2.Payment(
        transaction_id=str(row["transaction_id"]),
        customer_id=str(row["customer_id"]),
        merchant_id=str(row["merchant_id"]),
        amount_cents=round(100 * float(str(row["amount"]))),
    )
    payment.time.FromDatetime(row["time"])  # type: ignore[arg-type]  # a column of times
    request = scoring_pb2.ScoreRequest(payment=payment, reason_count=reasons)
    began = time.perf_counter()
    stub.Score(request, timeout=30)
    return time.perf_counter() - began


def main() -> None:
    """Prints the figures with machine, versions and date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rows", type=options.rows, default=1_000_000, help="payments of the bank (default: 1,000,000)"
    )
    parser.add_argument("--calls", type=options.times, default=5_000, help="calls over the socket (default: 5,000)")
    add_json(parser)
    arguments = parser.parse_args()
    report = Report("scoring", f"a bank with {arguments.rows:,} payments, {arguments.calls:,} calls one after another")
    report.begin()
    with tempfile.TemporaryDirectory() as folder:
        bank(Path(folder), payments(arguments.rows))
        offline(report, Path(folder))
        online(report, Path(folder), arguments.calls)
    report.end(arguments.json)


if __name__ == "__main__":
    ending.run(main)
