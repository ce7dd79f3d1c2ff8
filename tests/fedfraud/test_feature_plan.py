"""The feature plan: which day is for what, its bytes and hash, and what no plan may be."""

from dataclasses import fields, replace
from typing import Any

import pytest

from fedfraud.errors import Invalid
from fedfraud.feature_plan import PLANS, FeaturePlan
from fedfraud.transactions import CARDS, SCHEMAS, WINDOWS

PLAN = FeaturePlan(first_day="2018-06-17")


def test_the_days_of_the_published_split() -> None:
    assert (PLAN.train_start, PLAN.train_end, PLAN.test_start, PLAN.day_count) == (38, 45, 52, 59)
    assert PLAN.counted_days == 52  # none of the test
    assert PLAN.start_time == 1_529_193_600  # date -d 2018-06-17T00:00Z +%s


def test_the_hash_is_of_sorted_json_without_spaces_and_of_every_field() -> None:
    assert PLAN.canonical_json() == (
        b'{"bucket_count":65536,"delay_days":7,"first_day":"2018-06-17","history_days":38,"label_delay_days":7,'
        b'"test_days":7,"train_days":7,"version":1,"windows":[1,7,30]}'
    )
    others: dict[str, Any] = {
        "bucket_count": 2,
        "delay_days": 8,
        "first_day": "2018-06-18",
        "history_days": 39,
        "label_delay_days": 6,
        "test_days": 8,
        "train_days": 8,
        "windows": (1, 7, 29),
    }
    assert {*others, "version"} == {field.name for field in fields(PLAN)}
    hashes = {replace(PLAN, **{name: value}).sha256 for name, value in others.items()}
    assert len(hashes | {PLAN.sha256}) == 9


def test_each_plan_has_a_schema_and_its_windows_name_the_features() -> None:
    assert PLANS.keys() <= SCHEMAS.keys()
    assert PLANS["cards"].windows == WINDOWS == (1, 7, 30)
    assert [feature.name for feature in CARDS] == [
        *("amount", "during_weekend", "during_night"),
        *("customer_count_1d", "customer_mean_1d", "customer_count_7d", "customer_mean_7d"),
        *("customer_count_30d", "customer_mean_30d"),
        *("merchant_count_1d", "merchant_risk_1d", "merchant_count_7d", "merchant_risk_7d"),
        *("merchant_count_30d", "merchant_risk_30d"),
    ]


@pytest.mark.parametrize("population", SCHEMAS)
def test_every_resolution_is_a_power_of_two_so_that_sums_are_exact(population: str) -> None:
    assert all(feature.resolution.hex().startswith("0x1.0000000000000p") for feature in SCHEMAS[population])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"version": 2}, "feature plan version must be 1, got 2"),
        ({"first_day": "17.6.2018"}, "first day must be a date, YYYY-MM-DD, got '17.6.2018'"),
        ({"first_day": "20180617"}, "first day must be a date, YYYY-MM-DD, got '20180617'"),
        ({"windows": (1, 7)}, "windows must be 3 rising numbers of days from 1, got [1, 7]"),
        ({"windows": (0, 7, 30)}, "windows must be 3 rising numbers of days from 1, got [0, 7, 30]"),
        ({"windows": (7, 1, 30)}, "windows must be 3 rising numbers of days from 1, got [7, 1, 30]"),
        ({"train_days": 0}, "train days must be at least 1, got 0"),
        ({"test_days": 0}, "test days must be at least 1, got 0"),
        ({"label_delay_days": -1}, "label delay days must be at least 0, got -1"),
        ({"delay_days": 6}, "delay days must be at least the label delay days, 7, got 6"),
        ({"history_days": 37}, "history days must be at least the longest window, the label delay and 1, 38, got 37"),
        ({"history_days": 3_640}, "days must be at most 3660, got 3661"),
        ({"bucket_count": 65_535}, "bucket count must be a power of two up to 16777216, got 65535"),
        ({"bucket_count": 0}, "bucket count must be a power of two up to 16777216, got 0"),
        ({"bucket_count": 2**25}, "bucket count must be a power of two up to 16777216, got 33554432"),
    ],
)
def test_no_plan_breaks_a_rule(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Invalid) as refused:
        replace(PLAN, **wrong)
    assert str(refused.value) == sentence
