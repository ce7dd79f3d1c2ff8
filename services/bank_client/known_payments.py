"""The payments that a bank knows when it scores others: those of its data and those asked for, in one order.

Payments follow each other by time, those of one second by their ids where all of these are whole numbers of the bank's,
else by what they hold: as in `transactions`. A payment's features are those of its place in that order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fedfraud.errors import Invalid
from fedfraud.feature_plan import FeaturePlan
from services.bank_client import features
from services.bank_client.attribution import Floats
from services.bank_client.conversion import time_text
from services.bank_client.features import DAY, Which
from services.bank_client.gathering import as_numbers, id_numbers
from services.bank_client.transactions import Integers, Transactions, in_order

_COLUMNS = ("time", "customer", "merchant", "amount", "label", "known_at")


@dataclass(frozen=True)
class Known:
    """Payments in order and, in the same order, their ids; None where the bank has none of its own."""

    payments: Transactions
    ids: pa.Array | None

    @property
    def is_numbered(self) -> bool:
        """Whether all ids are whole numbers."""
        return self.ids is not None and as_numbers(self.ids) is not None

    def since(self, plan: FeaturePlan) -> "Known":
        """Those of the plan's first day and later: features follow from no others."""
        first = int(np.searchsorted(self.payments.time, plan.start_time))
        rows = np.arange(first, len(self.payments))
        return Known(self.payments.take(rows), None if self.ids is None else self.ids.slice(first))


@dataclass(frozen=True)
class MerchantRisk:
    """What is known of merchants: the summed counters under a plan, and the key that merchants fall into buckets by."""

    plan: FeaturePlan
    counters: Integers
    key: bytes

    @property
    def first_time(self) -> int:
        """The first that features look back on whole windows from, in seconds since 1970."""
        return self.plan.start_time + self.plan.train_start * DAY

    def newest_day(self) -> int:
        """The plan's last day for which counters say all that they should."""
        return self.plan.counted_days + self.plan.label_delay_days

    def stale_days(self, time: Integers) -> Integers:
        """(rows,) how many days after the newest such day each time is: merchants are then seen as on that day."""
        day = (time - self.plan.start_time) // DAY
        return np.maximum(day - self.newest_day(), 0)

    def features(self, payments: Transactions, rows: Which) -> Floats:
        """(rows, 15) of these rows, each as it was known when it was made."""
        day = (payments.time[rows] - self.plan.start_time) // DAY
        if len(day) and day.min() < self.plan.train_start:
            rule = f"payments to be scored must be from {time_text(self.first_time)[:10]} on"
            when = time_text(int(payments.time[rows].min()))
            raise Invalid(f"{rule}, the first day that features look back on whole windows, got {when}")
        buckets = features.bucket_of(payments.merchant_ids, self.key, self.plan.bucket_count)
        seen = np.minimum(day, self.newest_day())
        return features.features_on(seen, payments, self.plan, buckets, self.counters, rows)


def joined(known: Known, asked: Known) -> tuple[Transactions, Which]:
    """All payments of both in order, and where those that were asked for are. One that both have is there once."""
    old, new = known.payments, _with_names_of(asked.payments, known.payments)
    places, ties = np.full(len(new), -1), dict[str, Integers]()
    if known.ids is None or asked.ids is None:
        _check_later(old, new)
    else:
        numbers = id_numbers(known.ids), id_numbers(asked.ids)
        places = _places(*numbers)
        _check_same(old, new, places, asked.ids)
        if known.is_numbered and asked.is_numbered:
            ties = {"number": np.concatenate([numbers[0], numbers[1][places < 0]])}
    fresh = np.flatnonzero(places < 0)
    columns = {name: np.concatenate([getattr(old, name), getattr(new, name)[fresh]]) for name in _COLUMNS}
    if not ties:
        customer, merchant = (
            _ranks(new.customer_ids)[columns["customer"]],
            _ranks(new.merchant_ids)[columns["merchant"]],
        )
        ties = {"customer": customer, "merchant": merchant, "amount": columns["amount"]}
    order = in_order(columns["time"], list(ties.values()))
    place = np.empty(len(order), np.intp)
    place[order] = np.arange(len(order))
    places[fresh] = len(old) + np.arange(len(fresh))
    ordered = {name: column[order] for name, column in columns.items()}
    return Transactions(**ordered, customer_ids=new.customer_ids, merchant_ids=new.merchant_ids), place[places]


def _places(known: Integers, asked: Integers) -> Which:
    """Where each id asked for is among those known; -1 where it is not."""
    order = np.argsort(known, kind="stable")
    if not len(order):
        return np.full(len(asked), -1)
    at = order[np.minimum(np.searchsorted(known[order], asked), len(order) - 1)]
    return np.where(known[at] == asked, at, -1)


def _with_names_of(asked: Transactions, known: Transactions) -> Transactions:
    """The same payments with customers and merchants by the places that the known ones have, new ones after them."""
    customers, customer = _renamed(known.customer_ids, asked.customer_ids)
    merchants, merchant = _renamed(known.merchant_ids, asked.merchant_ids)
    return replace(
        asked,
        customer=customer[asked.customer],
        merchant=merchant[asked.merchant],
        customer_ids=customers,
        merchant_ids=merchants,
    )


def _renamed(known: tuple[str, ...], asked: tuple[str, ...]) -> tuple[tuple[str, ...], Integers]:
    places = {name: place for place, name in enumerate(known)}
    codes = np.array([places.setdefault(name, len(places)) for name in asked], np.int64)
    return tuple(places), codes


def _check_later(known: Transactions, asked: Transactions) -> None:
    if len(known) and len(asked) and asked.time[0] <= known.time[-1]:
        raise Invalid(
            "where payments have no ids, those to be scored must be after the newest of the bank's data, "
            f"{time_text(int(known.time[-1]))}, got {time_text(int(asked.time[0]))}"
        )


def _check_same(known: Transactions, asked: Transactions, places: Which, ids: pa.Array | None) -> None:
    both = np.flatnonzero(places >= 0)
    at = places[both]
    differ = np.zeros(len(both), np.bool_)
    for name in ("time", "customer", "merchant", "amount"):
        differ |= getattr(known, name)[at] != getattr(asked, name)[both]
    if differ.any() and ids is not None:
        first = ids[int(both[np.argmax(differ)])].as_py()
        raise Invalid(f"a transaction id must be of one payment, {first!r} is of another in the bank's data")


def _ranks(names: Sequence[str]) -> Integers:
    ranks = np.empty(len(names), np.int64)
    ranks[pc.sort_indices(pa.array(names, pa.string())).to_numpy()] = np.arange(len(names))
    return ranks
