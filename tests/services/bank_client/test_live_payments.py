"""Payments as they come: each has the features that training computes of all of them."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from fedfraud.errors import Invalid, Misconfigured
from services.bank_client import features
from services.bank_client.known_payments import Known
from services.bank_client.live_payments import LivePayments, Payment
from tests.services.bank_client.payments import transactions
from tests.services.bank_client.scoring_banks import PLAN, numbered
from tests.services.bank_client.test_known_payments import ALL, BUCKETS, COUNTERS, RISK, known


def payment(row: int) -> Payment:
    customer, merchant = ALL.customer_ids[ALL.customer[row]], ALL.merchant_ids[ALL.merchant[row]]
    return Payment(str(row), int(ALL.time[row]), customer, merchant, int(ALL.amount[row]))


@pytest.mark.parametrize("first", [1_500, 1_900])
def test_one_after_another_has_the_features_of_training(first: int) -> None:
    expected = features.features(ALL, PLAN, BUCKETS, COUNTERS)
    live = LivePayments(known(slice(0, first)), RISK)
    for row in range(first, 2_000):
        assert np.array_equal(live.features(payment(row))[0], expected[row])
        live.add(payment(row))


def test_a_payment_that_is_known_has_the_features_of_its_place() -> None:
    expected = features.features(ALL, PLAN, BUCKETS, COUNTERS)
    live = LivePayments(known(slice(0, 1_800)), RISK)
    for row in range(1_800, 2_000):
        live.add(payment(row))
    for row in (*range(1_500, 2_000), *range(1_999, 1_499, -1)):
        live.add(payment(row))  # again: it counts once
        assert np.array_equal(live.features(payment(row))[0], expected[row])


def test_a_bank_without_payments_starts_with_the_first() -> None:
    live = LivePayments(known(slice(0, 0)), RISK)
    for row, count in ((1_500, 1), (1_500, 1)):
        assert live.features(payment(row))[0, 3] == count
        live.add(payment(row))


def test_an_id_of_another_payment_is_refused_and_does_not_count() -> None:
    live = LivePayments(known(slice(0, 1_800)), RISK)
    live.add(payment(1_900))
    for row in (1_790, 1_900):
        for change in ({"cents": 1}, {"customer": "other"}, {"merchant": "other"}, {"time": int(ALL.time[row]) + 1}):
            with pytest.raises(Invalid, match=f"a transaction id must be of one payment, '{row}' is of another"):
                live.features(payment(row)._replace(**change))


def test_a_payment_before_its_customer_s_newest_is_refused() -> None:
    live = LivePayments(known(slice(0, 1_500)), RISK)
    newest = max(row for row in range(1_500) if ALL.customer[row] == ALL.customer[1_499])
    for newer in (payment(newest), payment(newest)._replace(id="5000", time=int(ALL.time[newest]) + 50)):
        live.add(newer)
        for earlier in (newer._replace(id="6000", time=newer.time - 1), newer._replace(id="-1")):
            with pytest.raises(Invalid, match="must not be before its customer's newest that is known"):
                live.features(earlier)
        live.features(newer._replace(id="7000"))
        live.features(newer._replace(id="7001", customer="nobody yet", time=newer.time - 1))


def test_where_the_data_has_no_ids_payments_are_after_all_of_it() -> None:
    data = Known(ALL.take(np.arange(1_500)), None)
    live, newest = LivePayments(data, RISK), int(ALL.time[1_499])
    one = payment(1_499)._replace(id="x", customer="nobody yet")
    with pytest.raises(Invalid, match="where the bank's data has no ids"):
        live.features(one._replace(time=newest))
    assert live.features(one._replace(time=newest + 1))[0, 3] == 1


def test_ids_that_are_no_numbers_let_payments_of_one_second_come_as_they_come() -> None:
    data = transactions(("2018-05-20", "a", "m", 10.0, 0, "2018-05-27"))
    live = LivePayments(Known(data, pa.array(["z"])), RISK)
    one = Payment("b", int(data.time[0]), "a", "k", 3_000)
    assert live.features(one)[0, 3:5].tolist() == [2, 20.0]
    live.add(one)
    assert live.features(one._replace(id="a"))[0, 3] == 3


def test_later_counters_take_the_place_of_these_under_the_same_plan_alone() -> None:
    live = LivePayments(known(slice(0, 1_500)), RISK)
    before = live.features(payment(1_500))
    live.learn(replace(RISK, counters=COUNTERS * 2))
    after = live.features(payment(1_500))
    assert after[0, :9].tolist() == before[0, :9].tolist()
    assert after[0, 13] == 2 * before[0, 13] > 0
    with pytest.raises(Misconfigured, match="must be scored by one feature plan"):
        live.learn(replace(RISK, plan=replace(PLAN, test_days=8)))
    assert len(numbered(ALL)) == 2_000
