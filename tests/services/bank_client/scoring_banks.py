"""Banks' folders for tests of scoring: payments or a feature table, the merchants' key, and a kept model."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fedfraud import fixed_point
from fedfraud.feature_plan import PLANS
from fedfraud.fixed_point import CountCodec
from fedfraud.identity import write_secret
from fedfraud.manifest import Manifest
from fedfraud.model import RunState, Vector, initial_vector, model_sha256, to_bytes
from fedfraud.transactions import SCHEMAS
from services.bank_client import dataset, features
from services.bank_client.dataset import Rows
from services.bank_client.kept_model import KeptModel, Variant, keep, keep_counters
from services.bank_client.merchant_key import fingerprint
from services.bank_client.own_trade import Threshold
from services.bank_client.settings import Settings
from services.bank_client.transactions import UNKNOWN, Transactions
from tests.services.bank_client.payments import at_random

PLAN = replace(PLANS["cards"], bucket_count=64)
KEY = b"k" * 32
THRESHOLD = Threshold(-2.0, float(1 / (1 + np.exp(2))), 9.5, 0.5, 0.5)
CARDS = Manifest("cards", SCHEMAS["cards"], feature_plan=PLAN)
TABLE = Manifest("tutorial", SCHEMAS["tutorial"])


def paid(seed: int = 7, rows: int = 2_000) -> Transactions:
    """Payments of all days of the plan, many in the same second and by the same customer."""
    return at_random(seed, PLAN.start_time, (0, 59), rows, people=12, shops=20)


def settings(folder: Path, **chosen: object) -> Settings:
    return Settings(data_dir=folder, **chosen)  # type: ignore[arg-type]  # checked by pydantic


def write_payments(path: Path, payments: Transactions, ids: list[str], *, labels: bool = True) -> None:
    """Under the contract's own names."""
    columns: dict[str, object] = {
        "transaction_id": ids,
        "time": pa.array(payments.time, pa.timestamp("s")),
        "customer_id": [payments.customer_ids[code] for code in payments.customer],
        "merchant_id": [payments.merchant_ids[code] for code in payments.merchant],
        "amount": payments.amount / 100,
    }
    if labels:
        known = payments.label != UNKNOWN
        columns["fraud"] = pa.array(payments.label, pa.int8(), mask=~known)
        columns["fraud_known_at"] = pa.array(np.where(known, payments.known_at, 0), pa.timestamp("s"), mask=~known)
    pq.write_table(pa.table(columns), path)


def numbered(payments: Transactions) -> list[str]:
    return [str(number) for number in range(len(payments))]


def state(manifest: Manifest, means: np.ndarray, deviations: np.ndarray, counters: bytes = b"") -> RunState:
    return RunState(tuple(means.tolist()), tuple(deviations.tolist()), 1_000, 20, 1e3, counters)


def kept_of(manifest: Manifest, run_state: RunState, vector: Vector, run_id: str = "run-1") -> KeptModel:
    variant = Variant("federated", to_bytes(vector), model_sha256(manifest, run_state, vector), THRESHOLD)
    key = fingerprint(KEY) if manifest.feature_plan else ""
    return KeptModel(run_id, manifest, run_state, True, 10, key, (variant,))


def payments_bank(folder: Path, payments: Transactions, rows: int | None = None) -> KeptModel:
    """A bank whose data are the first `rows` of these payments, with a model under the counters of all of them."""
    folder.mkdir(exist_ok=True)
    data = payments.take(np.arange(len(payments) if rows is None else rows))
    write_payments(folder / "dataset.parquet", data, numbered(data))
    write_secret(folder / "merchant.key", KEY)
    buckets = features.bucket_of(payments.merchant_ids, KEY, PLAN.bucket_count)
    counts = features.counts(payments, PLAN, buckets)
    words = CountCodec(PLAN.bucket_count, PLAN.counted_days).encode(counts)
    sha256 = hashlib.sha256(fixed_point.to_bytes(words)).digest()
    values = features.features(payments, PLAN, buckets, counts)
    run_state = state(CARDS, values.mean(axis=0), values.std(axis=0), sha256)
    kept = kept_of(CARDS, run_state, 3 * initial_vector(CARDS, 7))
    keep_counters(folder, sha256, words)
    keep(folder, kept)
    return kept


def drawn_table(count: int) -> Rows:
    """Rows of the tutorial's features, every tenth a fraud."""
    labels = np.arange(count) % 10 == 0
    return Rows(np.random.default_rng(7).normal(size=(count, 30)) + labels[:, None], labels)


def table_bank(folder: Path, rows: Rows) -> KeptModel:
    """A bank with a feature table and a model."""
    folder.mkdir(exist_ok=True)
    dataset.write(folder / "dataset.parquet", rows, TABLE.features)
    run_state = state(TABLE, rows.features.mean(axis=0), rows.features.std(axis=0))
    kept = kept_of(TABLE, run_state, 3 * initial_vector(TABLE, 7))
    keep(folder, kept)
    return kept
