"""Features as they were known at the time: against a slow reading of the plan, and whatever comes later."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedfraud.errors import Invalid
from fedfraud.feature_plan import FeaturePlan
from fedfraud.standardise_codec import StandardiseCodec
from fedfraud.transactions import CARDS
from services.bank_client.features import bucket_of, counts, examples, features, planned, split
from services.bank_client.transactions import NEVER, UNKNOWN, Integers, Transactions
from tests.services.bank_client.payments import at_random, seconds, transactions

PLAN = FeaturePlan(first_day="2018-04-01", bucket_count=16)
BRIEF = FeaturePlan(
    first_day="2021-02-26",
    history_days=8,
    train_days=3,
    delay_days=3,
    test_days=3,
    windows=(1, 2, 4),
    label_delay_days=2,
    bucket_count=4,
)
DAY = 86_400
KEY = bytes(range(32))
COLUMNS = [feature.name for feature in CARDS]


def shops(seen: Transactions, plan: FeaturePlan = PLAN) -> Integers:
    """Buckets that can be told in the head: the merchants one after the other."""
    return np.arange(len(seen.merchant_ids)) % plan.bucket_count


def told(seen: Transactions, plan: FeaturePlan, row: int, counters: Integers | None = None) -> dict[str, float]:
    """One row's features by name, from the bank's own counters unless given."""
    own = counts(seen, plan, shops(seen, plan)) if counters is None else counters
    return dict(zip(COLUMNS, features(seen, plan, shops(seen, plan), own)[row].tolist(), strict=True))


def slowly(seen: Transactions, plan: FeaturePlan, all_banks: list[Transactions], row: int) -> list[float]:
    """The plan read aloud: one row, by going through all payments."""
    moment, customer = int(seen.time[row]), seen.customer[row]
    when, first = datetime.fromtimestamp(moment, UTC), datetime.fromisoformat(plan.first_day).replace(tzinfo=UTC)
    today, found = (when - first).days, [seen.amount[row] / 100, when.weekday() >= 5, when.hour <= 6]
    for days in plan.windows:
        own = [i for i in range(row + 1) if seen.customer[i] == customer and seen.time[i] > moment - days * DAY]
        found += [len(own), sum(int(seen.amount[i]) for i in own) / len(own) / 100]
    bucket = shops(seen, plan)[seen.merchant[row]]
    for days in plan.windows:
        end = today - plan.label_delay_days - 1  # the last day that is looked at
        window, number, frauds = range(end - days + 1, end + 1), 0, 0
        for bank in all_banks:
            for i in np.flatnonzero(shops(bank, plan)[bank.merchant] == bucket):
                paid = (int(bank.time[i]) - plan.start_time) // DAY
                number += paid in window
                if bank.label[i] == 1:
                    known = (int(bank.known_at[i]) - plan.start_time) // DAY
                    frauds += max(paid, known - plan.label_delay_days) in window
        found += [number, min(frauds / number, 1) if number else 0.0]
    return [float(value) for value in found]


@pytest.mark.parametrize("plan", [PLAN, BRIEF])
@pytest.mark.parametrize("seed", [1, 2])
def test_features_are_what_going_through_all_payments_finds(plan: FeaturePlan, seed: int) -> None:
    banks = [at_random(seed + n, plan.start_time, (0, plan.day_count), 150, (0, 2, 7, 12)) for n in (0, 10)]
    found = features(banks[0], plan, shops(banks[0], plan), summed(plan, *banks))
    expected = np.array([slowly(banks[0], plan, banks, row) for row in range(len(banks[0]))])
    np.testing.assert_allclose(found, expected, rtol=1e-15)
    assert (found[:, 9:] > 0).mean() > 0.3


def test_a_customers_window_has_the_payment_itself_and_not_the_one_a_day_before_to_the_second() -> None:
    seen = transactions(
        ("2018-05-14T10:00:00", "ann", "shop", 100.0, 0, "2018-05-21"),
        ("2018-05-15T10:00:00", "ann", "shop", 10.0, 0, "2018-05-22"),
        ("2018-05-15T10:00:00", "bob", "shop", 70.0, 0, "2018-05-22"),
        ("2018-05-15T10:00:00", "ann", "shop", 20.0, 0, "2018-05-22"),
    )
    second, fourth = told(seen, PLAN, 1), told(seen, PLAN, 3)
    assert (second["customer_count_1d"], second["customer_mean_1d"]) == (1, 10.0)
    assert (second["customer_count_7d"], second["customer_mean_7d"]) == (2, 55.0)
    assert (fourth["customer_count_1d"], fourth["customer_mean_1d"]) == (2, 15.0)  # of one second: in their order
    assert (second["amount"], second["during_weekend"], second["during_night"]) == (10.0, 0, 0)  # a Tuesday


def test_night_lasts_until_seven_and_the_weekend_from_saturday_to_sunday() -> None:
    times = ("2018-05-11T23:59:59", "2018-05-12T00:00:00", "2018-05-13T06:59:59", "2018-05-14T07:00:00")
    seen = transactions(*((time, "ann", "shop", 1.0, None, None) for time in times))
    found = [(told(seen, PLAN, row)["during_weekend"], told(seen, PLAN, row)["during_night"]) for row in range(4)]
    assert found == [(0, 0), (1, 1), (1, 1), (0, 0)]


def test_a_merchants_window_of_a_day_is_the_day_eight_days_back() -> None:
    seen = transactions(
        ("2018-05-06T23:59:59", "bob", "shop", 1.0, 1, "2018-05-13T23:59:59"),
        ("2018-05-07T00:00:00", "bob", "shop", 1.0, 1, "2018-05-14T00:00:00"),
        ("2018-05-07T23:59:59", "bob", "shop", 1.0, 0, "2018-05-14T23:59:59"),
        ("2018-05-08T00:00:00", "bob", "shop", 1.0, 1, "2018-05-15T00:00:00"),
        ("2018-05-15T12:00:00", "ann", "shop", 1.0, None, None),
    )
    row = told(seen, PLAN, 4)
    assert (row["merchant_count_1d"], row["merchant_risk_1d"]) == (2, 0.5)
    assert (row["merchant_count_7d"], row["merchant_risk_7d"]) == (3, 2 / 3)


def test_a_fraud_that_the_bank_learns_late_counts_from_the_day_after_it_knew() -> None:
    def risks(known_at: str) -> list[float]:
        days = [f"2018-05-{day:02d}T12:00:00" for day in range(15, 24)]
        seen = transactions(
            ("2018-05-07T12:00:00", "bob", "shop", 1.0, 1, known_at),
            ("2018-05-07T12:00:00", "bob", "shop", 1.0, 0, "2018-05-14"),
            *((day, "ann", "other", 1.0, None, None) for day in days[:3]),
            *((day, "ann", "shop", 1.0, None, None) for day in days),
        )
        own = seen.merchant_ids.index("shop")
        rows = [row for row in range(2, len(seen)) if seen.merchant[row] == own]
        return [told(seen, PLAN, row)["merchant_risk_7d"] for row in rows[:5]]

    assert risks("2018-05-14T23:59:59") == [0.5, 0.5, 0.5, 0.5, 0.5]
    assert risks("2018-05-07T12:00:00") == [0.5, 0.5, 0.5, 0.5, 0.5]  # no sooner than the delay
    assert risks("2018-05-17T00:00:00") == [0, 0, 0, 0.5, 0.5]


def test_counters_hold_transactions_and_known_frauds_a_bucket_and_day() -> None:
    seen = transactions(
        ("2018-04-01T00:00:00", "ann", "a", 1.0, 1, "2018-04-02"),
        ("2018-04-01T23:59:59", "ann", "b", 1.0, 0, "2018-04-02"),
        ("2018-04-01T23:59:59", "ann", "b", 1.0, None, None),
        ("2018-05-22T23:59:59", "ann", "b", 1.0, 1, "2018-05-29"),
        ("2018-05-23T00:00:00", "ann", "b", 1.0, 1, "2018-05-30"),  # the test's first day
    )
    counted = counts(seen, PLAN, np.array([3, 15]))
    assert counted.shape == (16, 52, 2)
    assert {tuple(cell): counted[tuple(cell)].tolist() for cell in np.argwhere(counted.any(axis=2))} == {
        (3, 0): [1, 1],
        (15, 0): [2, 0],
        (15, 51): [1, 1],
    }


def test_the_sum_of_two_banks_counters_is_as_if_one_bank_had_all_payments() -> None:
    whole = at_random(5, PLAN.start_time, (0, PLAN.day_count), 400)
    parts = [whole.take(whole.customer < 2), whole.take(whole.customer >= 2)]
    assert np.array_equal(summed(PLAN, *parts), counts(whole, PLAN, shops(whole)))


def test_the_split_has_the_train_week_and_the_test_week_with_labels_alone() -> None:
    days = ("05-08", "05-09", "05-15", "05-16", "05-22", "05-23", "05-29")  # plan days 37, 38, 44, 45, 51, 52, 58
    rows = [(f"2018-{day}T00:00:00", f"c{i}", "shop", 1.0, 0, "2018-06-05") for i, day in enumerate(days)]
    known = [(*row[:5], "2018-05-22T23:59:59") for row in rows]
    unknown = [(*row[:4], None, None) for row in rows]
    assert [part.tolist() for part in split(transactions(*known), PLAN)] == [[1, 2], [5, 6]]
    assert [part.tolist() for part in split(transactions(*rows), PLAN)] == [[], [5, 6]]  # known too late to train on
    assert [part.tolist() for part in split(transactions(*unknown), PLAN)] == [[], []]


@pytest.mark.parametrize(
    ("fraud", "known_at", "first_left_out"),
    [
        ("2018-05-08T23:59:59", "2018-05-15", None),  # in history
        ("2018-05-09T00:00:00", "2018-05-16", 23),  # training's first day
        ("2018-05-15T23:59:59", "2018-05-22T23:59:59", 23),  # its last
        ("2018-05-16T00:00:00", "2018-05-23", 24),  # a day of the delay: eight days later
        ("2018-05-20T12:00:00", "2018-05-27", 28),
        ("2018-05-15T23:59:59", "2018-05-26", 27),  # known late: the day after that
        ("2018-05-22T00:00:00", "2018-05-29", None),  # too near to be known within the test
    ],
)
def test_customers_known_as_compromised_are_left_out_of_validation(
    fraud: str, known_at: str, first_left_out: int | None
) -> None:
    later = [(f"2018-05-{day}T12:00:00", "ann", "shop", 1.0, 0, "2018-06-05") for day in range(23, 30)]
    seen = transactions((fraud, "ann", "shop", 1.0, 1, known_at), *later)
    kept = [int(seen.time[row] - seconds("2018-05-23T12:00:00")) // DAY + 23 for row in split(seen, PLAN)[1]]
    assert kept == list(range(23, first_left_out or 30))


def later_known(seen: Transactions, plan: FeaturePlan, day: int, seed: int) -> Transactions:
    """Labels that were known on that day or later, changed at random to such that are."""
    draws, morning = np.random.RandomState(seed), plan.start_time + day * DAY
    young = seen.known_at >= morning
    label = np.where(young, draws.choice([0, 1, UNKNOWN], len(seen)), seen.label).astype(np.int8)
    known = np.where(young, np.maximum(morning, seen.time) + draws.randint(0, 9 * DAY, len(seen)), seen.known_at)
    return replace(seen, label=label, known_at=np.where(label == UNKNOWN, NEVER, known))


def altered(seen: Transactions, kept: int, start: int, seed: int) -> Transactions:
    """Everything after the first so many rows is something else, and another number of it, from `start` on."""
    shape = (len(seen.customer_ids), len(seen.merchant_ids))
    hours = (0, max(1, (int(seen.time[-1]) - start) // 3_600))
    new = at_random(seed, start, (0, 1), 30, (0, 2, 7), *shape)
    moved = np.sort(np.random.RandomState(seed).randint(*hours, len(new))) * 3_600 + 1
    known = np.where(new.label == UNKNOWN, NEVER, new.known_at - new.time + start + moved)
    new = replace(new, time=start + moved, known_at=known)

    def both(name: str) -> Any:  # noqa: ANN401  # a column of any type
        return np.concatenate([getattr(seen, name)[:kept], getattr(new, name)])

    return replace(
        seen,
        time=both("time"),
        customer=both("customer"),
        merchant=both("merchant"),
        amount=both("amount"),
        label=both("label"),
        known_at=both("known_at"),
    )


def summed(plan: FeaturePlan, *banks: Transactions) -> Integers:
    """The counters of all banks."""
    added: Integers = np.sum([counts(bank, plan, shops(bank, plan)) for bank in banks], axis=0, dtype=np.int64)
    return added


@given(st.integers(0, 2**20), st.integers(0, 119), st.sampled_from([PLAN, BRIEF]))
def test_no_feature_changes_when_later_payments_or_younger_labels_do(seed: int, row: int, plan: FeaturePlan) -> None:
    own, other = (at_random(seed + n, plan.start_time, (0, plan.day_count), 120, (0, 2, 7, 12)) for n in (0, 1))
    day = int(own.time[row] - plan.start_time) // DAY
    now, ahead = int(own.time[row]), int(np.searchsorted(other.time, own.time[row]))
    changed = later_known(altered(own, row + 1, now, seed), plan, day, seed)
    other_changed = later_known(altered(other, ahead, now, seed), plan, day, seed + 1)
    before, after = summed(plan, own, other), summed(plan, changed, other_changed)
    only = np.array([row])
    found = features(own, plan, shops(own, plan), before, only)
    assert found.tobytes() == features(changed, plan, shops(own, plan), after, only).tobytes()


@given(st.integers(0, 2**20))
def test_counters_and_scaler_see_nothing_of_the_test_days(seed: int) -> None:
    seen = at_random(seed, PLAN.start_time, (0, PLAN.day_count), 300)
    start = PLAN.start_time + PLAN.test_start * DAY
    changed = altered(seen, int(np.searchsorted(seen.time, start)), start, seed)
    assert np.array_equal(counts(seen, PLAN, shops(seen)), counts(changed, PLAN, shops(seen)))
    codec = StandardiseCodec(tuple(feature.resolution for feature in CARDS))
    words = []
    for bank in (seen, changed):
        training, _ = examples(bank, PLAN, shops(bank), counts(bank, PLAN, shops(bank)))
        words.append(codec.encode(training.features, training.labels).tobytes())
    assert words[0] == words[1]


def test_examples_are_the_features_and_labels_of_the_splits_rows() -> None:
    seen = at_random(8, PLAN.start_time, (0, PLAN.day_count), 600, people=40)
    counters = counts(seen, PLAN, shops(seen))
    everything = features(seen, PLAN, shops(seen), counters)
    parts = zip(examples(seen, PLAN, shops(seen), counters), split(seen, PLAN), strict=True)
    for rows, places in parts:
        assert len(rows) > 20
        assert rows.features.tobytes() == everything[places].tobytes()
        assert np.array_equal(rows.labels, seen.label[places] == 1)


def test_payments_of_other_days_are_left_alone_and_not_counted() -> None:
    beyond = at_random(9, PLAN.start_time, (-20, PLAN.day_count + 20), 500)
    kept = planned(beyond, PLAN)
    assert 0 < len(kept) < 500
    assert kept.time[0] >= PLAN.start_time > beyond.time[0]
    assert kept.time[-1] < PLAN.start_time + PLAN.day_count * DAY < beyond.time[-1]
    with pytest.raises(Invalid, match=r"^payments must be of the plan's days, 0 to 58, got day -20 to 78$"):
        counts(beyond, PLAN, shops(beyond))


def test_a_bank_without_a_payment_has_no_features_and_no_counts() -> None:
    none = at_random(1, PLAN.start_time, (0, 1), 3).take(np.arange(0))
    assert counts(none, PLAN, shops(none)).sum() == 0
    training, validation = examples(none, PLAN, shops(none), counts(none, PLAN, shops(none)))
    assert (training.features.shape, validation.features.shape) == ((0, 15), (0, 15))


def test_a_bucket_is_the_keyed_hash_of_the_merchants_id() -> None:
    # printf shop | openssl dgst -sha256 -mac hmac -macopt hexkey:000102…1f begins with 4419, the low bytes
    assert bucket_of(["shop"], KEY, 2**16).tolist() == [0x1944]
    many = [f"merchant {i}" for i in range(10_000)]
    found = bucket_of(many, KEY, 2**16)
    assert found.max() < 2**16
    assert len(np.unique(found)) == pytest.approx(2**16 * (1 - np.exp(-10_000 / 2**16)), rel=0.01)
    assert not np.array_equal(found, bucket_of(many, KEY[::-1], 2**16))
    with pytest.raises(Invalid, match=r"^a merchant key must have at least 32 bytes, got 31$"):
        bucket_of(many, KEY[:31], 2**16)


def test_counters_of_another_plan_are_refused() -> None:
    seen = at_random(1, PLAN.start_time, (0, PLAN.day_count), 10)
    with pytest.raises(Invalid, match=r"^counters must have the plan's shape, \(16, 52, 2\), got \(4, 14, 2\)$"):
        features(seen, PLAN, shops(seen), np.zeros((4, 14, 2), np.int64))
