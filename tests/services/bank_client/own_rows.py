"""What tests of a bank's own rows share: a small contract, a good file, and reading by settings."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from fedfraud.contract import Contract, feature_table
from fedfraud.transactions import Feature
from services.bank_client.own_data import load
from services.bank_client.readers import OwnData
from services.bank_client.settings import Settings

NOW = 1_600_000_000  # 2020-09-13
PLAIN = (Feature("amount", "euro", 0.01), Feature("hour", "hour", 1.0))
TABLE = feature_table("table", PLAIN)
GOOD = "amount,hour,fraud\n1,2,0\n3,4,1\n"


def own(folder: Path, contract: Contract = TABLE, **settings: object) -> OwnData:
    return load(Settings(data_dir=folder, **settings), contract, NOW)  # type: ignore[arg-type]  # checked by pydantic


def sentences(found: OwnData) -> list[str]:
    return [fault.sentence for fault in found.report.findings.faults]


def drawn_payments(count: int) -> pa.Table:
    """Payments of ten days in April 2018, labels known a week later."""
    draws = np.random.default_rng(3)
    seconds = np.sort(draws.integers(0, 10 * 86_400, count)) + 1_522_540_800
    return pa.table(
        {
            "transaction_id": np.arange(count),
            "time": pa.array(seconds, pa.timestamp("s")),
            "customer_id": draws.integers(0, 50, count),
            "merchant_id": draws.integers(0, 20, count),
            "amount": np.round(draws.gamma(2.0, 30.0, count), 2),
            "fraud": (draws.random(count) < 0.1).astype(np.int8),
            "fraud_known_at": pa.array(seconds + 7 * 86_400, pa.timestamp("s")),
        }
    )
