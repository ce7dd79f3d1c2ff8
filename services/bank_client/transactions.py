"""A bank's own payments as columns, in the order in which they happened."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedfraud.errors import Invalid

UNKNOWN = -1
"""The label of a payment that nobody has judged yet."""
NEVER = 2**62
"""When an unknown label is known."""

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Transactions:
    """Columns (rows,) sorted by time, rows of one second in the order of their transaction ids where these are numbers
    of the bank's, else of what they hold: never in that of the source.

    `time` and `known_at` are seconds since 1970 in UTC, `amount` is in cents, `label` is 1 for fraud, 0 for legitimate
    and UNKNOWN; `known_at` says when the bank learnt the label, NEVER where it did not. `customer` and `merchant` are
    places in `customer_ids` and `merchant_ids`.
    """

    time: Integers
    customer: Integers
    merchant: Integers
    amount: Integers
    label: NDArray[np.int8]
    known_at: Integers
    customer_ids: tuple[str, ...]
    merchant_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        if not (np.diff(self.time) >= 0).all():
            raise Invalid("transactions must be sorted by time, got a row before the one above it")

    def __len__(self) -> int:
        return len(self.time)

    @property
    def fraud_count(self) -> int:
        """Rows whose label is known to be fraud."""
        return int(np.count_nonzero(self.label == 1))

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Transactions":
        """The rows of these numbers, from 0 and rising, or of this mask; all ids stay."""
        return replace(
            self,
            time=self.time[rows],
            customer=self.customer[rows],
            merchant=self.merchant[rows],
            amount=self.amount[rows],
            label=self.label[rows],
            known_at=self.known_at[rows],
        )


def in_order(times: Integers, ties: Sequence[NDArray[Any]]) -> NDArray[np.intp]:
    """The rows by time, those of one second by the first of `ties` in which they differ."""
    order = np.argsort(times, kind="stable")
    same = np.diff(times[order]) == 0
    tied = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    rows = order[tied]
    order[tied] = rows[np.lexsort([*(tie[rows] for tie in reversed(ties)), times[rows]])]
    return order


def by_first_payment(customers: Integers) -> Integers:
    """(rows,) customers numbered anew, from 0, in the order in which they first pay."""
    first = np.full(int(customers.max(initial=-1)) + 1, len(customers))
    np.minimum.at(first, customers, np.arange(len(customers)))
    numbers = np.empty_like(first)
    numbers[np.argsort(first, kind="stable")] = np.arange(len(first))
    return numbers[customers]
