"""A bank's payments as they come, one after another, over those of its data: what each one's features follow from.

A payment that is asked for again has the features of the place that it had, and so the score that it had.
"""

from typing import NamedTuple

import numpy as np

from fedfraud.errors import Invalid, Misconfigured
from services.bank_client.attribution import Floats
from services.bank_client.conversion import time_text
from services.bank_client.features import DAY
from services.bank_client.gathering import id_number, id_numbers
from services.bank_client.known_payments import Known, MerchantRisk
from services.bank_client.transactions import NEVER, UNKNOWN, Integers, Transactions


class Payment(NamedTuple):
    """One payment to be scored; `time` in seconds since 1970 UTC."""

    id: str
    time: int
    customer: str
    merchant: str
    cents: int


class LivePayments:
    """The bank's payments as they come, one after another, over those of its data."""

    def __init__(self, known: Known, risk: MerchantRisk) -> None:
        self._known, self._risk = known.since(risk.plan), risk
        paid = self._known.payments
        self._order = np.argsort(paid.customer, kind="stable")
        self._ends = np.searchsorted(paid.customer[self._order], np.arange(len(paid.customer_ids) + 1))
        self._time, self._cents = paid.time[self._order], paid.amount[self._order]
        self._customers = {name: code for code, name in enumerate(paid.customer_ids)}
        self._is_numbered = self._known.is_numbered
        numbers = np.empty(0, np.int64) if self._known.ids is None else id_numbers(self._known.ids)
        self._by_number = np.argsort(numbers, kind="stable")
        self._numbers = numbers[self._by_number]
        self._live: dict[str, list[Payment]] = {}
        self._live_by_id: dict[str, Payment] = {}

    def stale_days(self, payment: Payment) -> int:
        """See MerchantRisk."""
        return int(self._risk.stale_days(np.array([payment.time]))[0])

    def features(self, payment: Payment) -> Floats:
        """(1, 15) of a payment, by those of its customer up to it; refused if it cannot come where it would."""
        time, cents = self._past(payment)
        paid = Transactions(
            time=np.append(time, payment.time),
            customer=np.zeros(len(time) + 1, np.int64),
            merchant=np.zeros(len(time) + 1, np.int64),
            amount=np.append(cents, payment.cents),
            label=np.full(len(time) + 1, UNKNOWN, np.int8),
            known_at=np.full(len(time) + 1, NEVER),
            customer_ids=(payment.customer,),
            merchant_ids=(payment.merchant,),
        )
        return self._risk.features(paid, np.array([len(time)]))

    def add(self, payment: Payment) -> None:
        """The payment was made: its customer's next ones see it. One that is known already is there once."""
        if self._row(payment) is None and payment.id not in self._live_by_id:
            self._live_by_id[payment.id] = payment
            self._live.setdefault(payment.customer, []).append(payment)

    def learn(self, risk: MerchantRisk) -> None:
        """A later run's counters take the place of these; of another feature plan they do not."""
        if risk.plan != self._risk.plan:
            raise Misconfigured(
                f"payments must be scored by one feature plan, {self._risk.plan.sha256.hex()[:12]}, "
                f"got {risk.plan.sha256.hex()[:12]}: start the service again"
            )
        self._risk = risk

    def _past(self, payment: Payment) -> tuple[Integers, Integers]:
        """Times and cents of the customer's payments before this one, as far back as features look."""
        since = payment.time - max(self._risk.plan.windows) * DAY
        code = self._customers.get(payment.customer)
        start, end = (0, 0) if code is None else (int(edge) for edge in self._ends[code : code + 2])
        live, row, same = self._live.get(payment.customer, []), self._row(payment), self._live_by_id.get(payment.id)
        if row is not None:
            self._check_is(payment, self._payment(row))
            end, live = start + int(np.searchsorted(self._order[start:end], row)), []
        elif same is not None:
            self._check_is(payment, same)
            live = live[: live.index(same)]
        else:
            self._check_next(payment, self._newest(live, start, end))
        start += int(np.searchsorted(self._time[start:end], since, side="right"))
        recent = [one for one in live if one.time > since]
        return (
            np.append(self._time[start:end], np.array([one.time for one in recent], np.int64)),
            np.append(self._cents[start:end], np.array([one.cents for one in recent], np.int64)),
        )

    def _newest(self, live: list[Payment], start: int, end: int) -> Payment | None:
        if live:
            return live[-1]
        return self._payment(int(self._order[end - 1])) if end > start else None

    def _row(self, payment: Payment) -> int | None:
        """Where it is in the bank's data; None where it is not."""
        number = id_number(payment.id)
        at = int(np.searchsorted(self._numbers, number))
        return int(self._by_number[at]) if at < len(self._numbers) and self._numbers[at] == number else None

    def _payment(self, row: int) -> Payment:
        paid, ids = self._known.payments, self._known.ids
        customer, merchant = paid.customer_ids[paid.customer[row]], paid.merchant_ids[paid.merchant[row]]
        name = "" if ids is None else ids[row].as_py()
        return Payment(name, int(paid.time[row]), customer, merchant, int(paid.amount[row]))

    def _check_is(self, payment: Payment, known: Payment) -> None:
        if payment[1:] != known[1:]:
            raise Invalid(f"a transaction id must be of one payment, {payment.id!r} is of another that is known")

    def _check_next(self, payment: Payment, newest: Payment | None) -> None:
        if self._known.ids is None and len(self._time) and payment.time <= (last := int(self._known.payments.time[-1])):
            raise Invalid(
                "where the bank's data has no ids, payments to be scored must be after its newest, "
                f"{time_text(last)}, got {time_text(payment.time)}"
            )
        if newest is not None and self._key(payment) < self._key(newest):
            raise Invalid(
                f"a payment must not be before its customer's newest that is known, {time_text(newest.time)}, "
                f"got {time_text(payment.time)}: `score FILE` takes payments in any order"
            )

    def _key(self, payment: Payment) -> tuple[int, int]:
        """Where ids are no numbers, payments of one second follow each other as they come."""
        return payment.time, id_number(payment.id) if self._is_numbered else 0
