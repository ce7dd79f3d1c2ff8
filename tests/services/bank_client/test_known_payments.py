"""Payments of the bank's data and those asked for, in one order: features are those of training."""

import numpy as np
import pyarrow as pa
import pytest

from fedfraud.errors import Invalid
from services.bank_client import features
from services.bank_client.gathering import id_numbers
from services.bank_client.known_payments import Known, MerchantRisk, joined
from services.bank_client.transactions import Transactions
from tests.services.bank_client.payments import transactions
from tests.services.bank_client.scoring_banks import KEY, PLAN, numbered, paid

ALL = paid()
BUCKETS = features.bucket_of(ALL.merchant_ids, KEY, PLAN.bucket_count)
COUNTERS = features.counts(ALL, PLAN, BUCKETS)
RISK = MerchantRisk(PLAN, COUNTERS, KEY)
DAY = 86_400


def known(rows: slice | np.ndarray, payments: Transactions = ALL) -> Known:
    places = np.arange(len(payments))[rows]
    return Known(payments.take(places), pa.array(np.array(numbered(payments))[places].tolist(), pa.string()))


@pytest.mark.parametrize("apart", [True, False])
def test_payments_have_the_features_of_training_whether_the_data_has_them_or_not(apart: bool) -> None:
    expected = features.features(ALL, PLAN, BUCKETS, COUNTERS)
    merged, places = joined(known(slice(0, 1_500 if apart else None)), known(slice(1_500, None)))
    assert len(merged) == 2_000
    assert np.array_equal(RISK.features(merged, places), expected[1_500:])


def test_rows_asked_for_may_lie_among_those_of_the_data_and_be_in_both() -> None:
    expected = features.features(ALL, PLAN, BUCKETS, COUNTERS)
    draws = np.random.default_rng(7)
    for _ in range(5):
        data, asked = (np.sort(draws.choice(2_000, 1_400, replace=False)) for _ in range(2))
        asked = asked[asked >= 1_400]
        rest = np.setdiff1d(np.arange(2_000), np.union1d(data, asked))
        merged, places = joined(known(np.union1d(data, rest)), known(asked))
        assert np.array_equal(RISK.features(merged, places), expected[asked])


def test_names_that_the_data_does_not_have_are_new_customers_and_merchants() -> None:
    data = transactions(("2018-05-20", "a", "m", 10.0, 0, "2018-05-27"))
    asked = transactions(
        ("2018-05-20T01:00", "a", "n", 30.0, None, None), ("2018-05-20T01:00", "b", "m", 5.0, None, None)
    )
    merged, places = joined(Known(data, pa.array(["1"])), Known(asked, pa.array(["2", "x"])))
    found = RISK.features(merged, places)
    assert found[:, 3].tolist() == [2, 1]  # payments of the customer in one day
    assert found[:, 4].tolist() == [20.0, 5.0]


def test_an_id_of_another_payment_is_refused() -> None:
    for change in ("amount", "time", "customer", "merchant"):
        columns = {name: getattr(ALL, name).copy() for name in ("amount", "time", "customer", "merchant")}
        columns[change][-1] += 1 if columns[change][-1] == 0 or change in ("amount", "time") else -1
        other = Transactions(
            **columns,
            label=ALL.label,
            known_at=ALL.known_at,
            customer_ids=ALL.customer_ids,
            merchant_ids=ALL.merchant_ids,
        )
        with pytest.raises(Invalid, match="a transaction id must be of one payment, '1999' is of another"):
            joined(known(slice(None)), known(slice(1_990, None), other))


def test_without_ids_payments_are_after_those_of_the_data() -> None:
    data, asked = Known(ALL.take(np.arange(1_500)), None), Known(ALL.take(np.arange(1_500, 2_000)), None)
    if asked.payments.time[0] == data.payments.time[-1]:
        asked = Known(asked.payments.take(asked.payments.time > data.payments.time[-1]), None)
    merged, places = joined(data, asked)
    assert len(merged) - len(places) == 1_500
    with pytest.raises(Invalid, match="must be after the newest of the bank's data"):
        joined(data, Known(ALL.take(np.arange(1_400, 2_000)), None))


def test_a_merchant_is_seen_as_on_the_newest_day_that_counters_reach_and_that_is_said() -> None:
    newest = PLAN.counted_days + PLAN.label_delay_days  # 59: its windows end where the counters do
    shop, last = ("m0",), PLAN.start_time + newest * DAY

    def on(day: int) -> tuple[list[float], int]:
        time = np.array([PLAN.start_time + day * DAY])
        zero = np.zeros(1, np.int64)
        payment = Transactions(time, zero, zero, zero + 100, np.zeros(1, np.int8), time, ("c",), shop)
        return RISK.features(payment, np.array([0]))[0, 9:].tolist(), int(RISK.stale_days(time)[0])

    assert RISK.stale_days(np.array([last - DAY, last, last + DAY - 1, last + DAY, last + 30 * DAY])).tolist() == [
        *[0, 0, 0],
        *[1, 30],
    ]
    assert on(newest)[0] == on(newest + 1)[0] == on(newest + 30)[0] != on(newest - 1)[0]
    assert on(newest)[0][0] > 0


def test_a_payment_before_features_look_back_on_whole_windows_is_refused() -> None:
    early = np.array([np.searchsorted(ALL.time, PLAN.start_time + PLAN.train_start * DAY) - 1])
    with pytest.raises(Invalid, match="payments to be scored must be from 2018-05-09 on"):
        RISK.features(ALL, early)
    RISK.features(ALL, early + 1)


def test_ids_are_whole_numbers_as_they_are_and_other_texts_by_a_hash() -> None:
    assert id_numbers(pa.array(["7", "-3", str(2**63 - 1)])).tolist() == [7, -3, 2**63 - 1]
    mixed = id_numbers(pa.array(["7", "a", "7a", "-3", "a", str(2**64)]))
    assert (mixed[0], mixed[3]) == (7, -3)
    assert mixed[1] == mixed[4]
    assert len(set(mixed.tolist())) == 5
