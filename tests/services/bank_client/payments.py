"""Payments for tests: some in words, some at random."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from services.bank_client.transactions import NEVER, UNKNOWN, Transactions

Payment = tuple[str, str, str, float, int | None, str | None]
"""Time, customer, merchant, euro, label, and when the label was known, all UTC."""


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def transactions(*rows: Payment) -> Transactions:
    """In the order of time, rows of one second in the order given."""
    rows = tuple(sorted(rows, key=lambda row: seconds(row[0])))
    customers, merchants = (tuple(sorted(set(ids))) for ids in ([row[1] for row in rows], [row[2] for row in rows]))
    return Transactions(
        time=np.array([seconds(row[0]) for row in rows], np.int64),
        customer=np.array([customers.index(row[1]) for row in rows], np.int64),
        merchant=np.array([merchants.index(row[2]) for row in rows], np.int64),
        amount=np.array([round(100 * row[3]) for row in rows], np.int64),
        label=np.array([UNKNOWN if row[4] is None else row[4] for row in rows], np.int8),
        known_at=np.array([NEVER if row[5] is None else seconds(row[5]) for row in rows], np.int64),
        customer_ids=customers,
        merchant_ids=merchants,
    )


def at_random(
    seed: int, start: int, days: Sequence[int], rows: int, delays: Sequence[int] = (7,), people: int = 5, shops: int = 6
) -> Transactions:
    """So many payments of the days from one to another, many in the same second, a third of them frauds or unknown;
    a label is known so many days after its payment."""
    draws = np.random.RandomState(seed)
    time = start + np.sort(draws.randint(days[0] * 24, days[1] * 24, rows)) * 3_600
    label = draws.choice([0, 1, UNKNOWN], rows, p=[0.66, 0.2, 0.14]).astype(np.int8)
    known = time + draws.choice(delays, rows) * 86_400 + draws.randint(0, 3, rows)
    return Transactions(
        time=time,
        customer=draws.randint(0, people, rows),
        merchant=draws.randint(0, shops, rows),
        amount=draws.randint(0, 30_000, rows),
        label=label,
        known_at=np.where(label == UNKNOWN, NEVER, known),
        customer_ids=tuple(f"c{i}" for i in range(people)),
        merchant_ids=tuple(f"m{i}" for i in range(shops)),
    )
