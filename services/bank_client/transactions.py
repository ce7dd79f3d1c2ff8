"""A bank's own payments as columns, in the order in which they happened."""

from dataclasses import dataclass, replace

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
    """Columns (rows,) sorted by time, rows of one second in the order of their transaction ids.

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
