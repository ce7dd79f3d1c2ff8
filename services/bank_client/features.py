"""A bank's features from its payments and the summed counters, each as it was known when the payment was made.

What a customer did comes from the bank's own rows, up to the payment and with it. What is known of a merchant comes
from counters a (bucket, day), of days that lie more than the label delay back: for a payment on day d with windows of w
days and a delay of seven these are days d-8-w+1 to d-8. Counters are read as if they were summed anew every day.
"""

import hmac
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedfraud.errors import Invalid
from fedfraud.feature_plan import FeaturePlan
from services.bank_client.dataset import Rows
from services.bank_client.transactions import Integers, Transactions

DAY = 86_400
LEAST_KEY_BYTES = 32
_NIGHT_ENDS = 7 * 3_600
_SATURDAY = 5
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday

Floats = NDArray[np.float64]
Which = NDArray[np.intp]


def planned(transactions: Transactions, plan: FeaturePlan) -> Transactions:
    """The payments of the plan's days; everything else here takes these alone."""
    first, end = np.searchsorted(transactions.time, [plan.start_time, plan.start_time + plan.day_count * DAY])
    return transactions.take(np.arange(first, end))


def bucket_of(merchant_ids: Sequence[str], key: bytes, bucket_count: int) -> Integers:
    """(merchants,) the bucket of each: HMAC-SHA256 of its id under the banks' key, so that who has no key cannot tell
    which merchant a bucket is."""
    if len(key) < LEAST_KEY_BYTES:
        raise Invalid(f"a merchant key must have at least {LEAST_KEY_BYTES} bytes, got {len(key)}")
    digests = b"".join(hmac.digest(key, name.encode(), "sha256")[:8] for name in merchant_ids)
    return (np.frombuffer(digests, "<u8") % np.uint64(bucket_count)).astype(np.int64)


def counts(transactions: Transactions, plan: FeaturePlan, buckets: Integers) -> Integers:
    """(buckets, counted days, 2): transactions and known frauds; `buckets` is the bucket of each merchant.

    A fraud that was known late is counted later than its payment: a day may have more frauds than transactions.
    """
    day, bucket = _day(transactions, plan), buckets[transactions.merchant]
    frauds = np.flatnonzero(transactions.label == 1)
    shape = (plan.bucket_count, plan.counted_days)
    counted = np.empty((*shape, 2), np.int64)
    counted[..., 0] = _histogram(bucket, day, shape)
    counted[..., 1] = _histogram(bucket[frauds], _fraud_day(transactions, plan, frauds), shape)
    return counted


def split(transactions: Transactions, plan: FeaturePlan) -> tuple[Which, Which]:
    """The rows to train on and those to validate on, which are the test days'.

    Training needs labels that are known when the test begins. Validation leaves out customers that are known as
    compromised by then: by a fraud since training began that is more than the label delay back.
    """
    day, known = _day(transactions, plan), transactions.label >= 0
    in_time = transactions.known_at < plan.start_time + plan.test_start * DAY
    training = known & in_time & (day >= plan.train_start) & (day < plan.train_end)
    frauds = np.flatnonzero(transactions.label == 1)
    frauds = frauds[_fraud_day(transactions, plan, frauds) >= plan.train_start]
    compromised = np.full(len(transactions.customer_ids), plan.day_count)  # since when
    np.minimum.at(compromised, transactions.customer[frauds], _fraud_day(transactions, plan, frauds))
    fresh = compromised[transactions.customer] >= day - plan.label_delay_days
    return np.flatnonzero(training), np.flatnonzero(known & fresh & (day >= plan.test_start))


def examples(transactions: Transactions, plan: FeaturePlan, buckets: Integers, counters: Integers) -> tuple[Rows, Rows]:
    """Training and validation rows, with their features."""
    parts = split(transactions, plan)
    rows = np.concatenate(parts)
    both = Rows(features(transactions, plan, buckets, counters, rows), transactions.label[rows] == 1)
    edge = len(parts[0])
    return Rows(both.features[:edge], both.labels[:edge]), Rows(both.features[edge:], both.labels[edge:])


def features(
    transactions: Transactions, plan: FeaturePlan, buckets: Integers, counters: Integers, rows: Which | None = None
) -> Floats:
    """(rows, 15) in the schema's order and units, of these rows or all; (buckets, counted days, 2) `counters` are the
    sum of the banks' `counts`."""
    rows = np.arange(len(transactions)) if rows is None else rows
    return features_on(_day(transactions, plan)[rows], transactions, plan, buckets, counters, rows)


def features_on(
    day: Integers, transactions: Transactions, plan: FeaturePlan, buckets: Integers, counters: Integers, rows: Which
) -> Floats:
    """The same with each row's merchant as it was known on a (rows,) `day` of the plan; payments may be of days after
    the plan's."""
    time = transactions.time[rows]
    weekday = (time // DAY + _EPOCH_WEEKDAY) % 7
    columns = [transactions.amount[rows] / 100, weekday >= _SATURDAY, time % DAY < _NIGHT_ENDS]
    columns += _customer_columns(transactions, plan, rows)
    columns += _merchant_columns(day, buckets[transactions.merchant[rows]], plan, counters)
    return np.column_stack(columns).astype(np.float64, copy=False)


def _customer_columns(transactions: Transactions, plan: FeaturePlan, rows: Which) -> list[Floats]:
    """Count and mean amount of the customer's payments in (time - window, time], of one second up to the row itself."""
    if not len(rows):
        return [np.empty(0)] * 2 * len(plan.windows)
    order = np.argsort(transactions.customer, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    elapsed = transactions.time - transactions.time[0]
    span = elapsed[-1] + max(plan.windows) * DAY + 1  # so that no window reaches into another customer's rows
    moments = (transactions.customer * span + elapsed)[order]
    spent = np.concatenate([[0], np.cumsum(transactions.amount[order])])
    visit = np.argsort(place[rows])  # a customer's rows one after the other, so that look-ups are near each other
    last = place[rows][visit]
    columns = np.empty((2 * len(plan.windows), len(rows)))
    for i, days in enumerate(plan.windows):
        first = np.searchsorted(moments, moments[last] - days * DAY, side="right")
        number = last + 1 - first
        columns[2 * i, visit], columns[2 * i + 1, visit] = number, (spent[last + 1] - spent[first]) / number / 100
    return list(columns)


def _merchant_columns(day: Integers, bucket: Integers, plan: FeaturePlan, counters: Integers) -> list[Floats]:
    """Count and share of known frauds in the merchant's bucket, a window of days before the label delay."""
    if counters.shape != (plan.bucket_count, plan.counted_days, 2):
        expected = (plan.bucket_count, plan.counted_days, 2)
        raise Invalid(f"counters must have the plan's shape, {expected}, got {counters.shape}")
    used, bucket = np.unique(bucket, return_inverse=True)
    before = np.zeros((len(used), plan.counted_days + 1, 2), np.int64)  # the days before each
    np.cumsum(counters[used], axis=1, out=before[:, 1:])
    end = day - plan.label_delay_days
    columns: list[Floats] = []
    for days in plan.windows:
        until, since = (np.clip(edge, 0, plan.counted_days) for edge in (end, end - days))
        # Late frauds may be more than the payments of these days; noise may take either below 0.
        number, frauds = np.maximum(before[bucket, until] - before[bucket, since], 0).T
        columns += [number, np.minimum(frauds, number) / np.maximum(number, 1)]
    return columns


def _day(transactions: Transactions, plan: FeaturePlan) -> Integers:
    """The plan's day of each payment; one of another day is refused."""
    day = (transactions.time - plan.start_time) // DAY
    if len(day) and not 0 <= day[0] <= day[-1] < plan.day_count:
        raise Invalid(f"payments must be of the plan's days, 0 to {plan.day_count - 1}, got day {day[0]} to {day[-1]}")
    return day


def _fraud_day(transactions: Transactions, plan: FeaturePlan, frauds: Which) -> Integers:
    """The day on which each of these frauds counts: its own, or later where it was known later than the delay."""
    known = (transactions.known_at[frauds] - plan.start_time) // DAY - plan.label_delay_days
    return np.maximum(_day(transactions, plan)[frauds], known)


def _histogram(bucket: Integers, day: Integers, shape: tuple[int, int]) -> Integers:
    counted = day < shape[1]
    cells = bucket[counted] * shape[1] + day[counted]
    return np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
