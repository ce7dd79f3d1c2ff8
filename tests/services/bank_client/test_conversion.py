"""Cells to values: numbers, times, flags and ids in the forms that banks write them."""

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fedfraud.errors import Invalid
from services.bank_client.column_map import Origin
from services.bank_client.conversion import NO_TIME, WrongType, cells, flags, numbers, shown, texts, times
from services.bank_client.sources import Chunk

APRIL = 1_522_540_800  # date -d 2018-04-01T00:00Z +%s


def origin(**more: Any) -> Origin:  # noqa: ANN401  # whatever a map may say
    return Origin.model_validate({"column": "c", **more})


@pytest.mark.parametrize(
    ("column", "form", "expected"),
    [
        (pa.array(["1", "-2.5e3", " 7 ", None]), "plain", [1.0, -2500.0, 7.0, math.nan]),
        (pa.array(["1", "x", "1,5"]), "plain", [1.0, math.nan, math.nan]),
        (pa.array(["$12.30", "$-1,000.00", "€ 5", "CHF"]), "money", [12.3, -1000.0, 5.0, math.nan]),
        (pa.array(["1", "1_000", "١٢", "0x10", "- 5", "+7"]), "plain", [1.0, *[math.nan] * 4, 7.0]),
        (pa.array([Decimal("1.25"), None]), "plain", [1.25, math.nan]),
        (pa.array([2**53, 3], pa.int64()), "plain", [2.0**53, 3.0]),
        (pa.array([None, None]), "plain", [math.nan, math.nan]),
        (pa.array([1.5, math.inf], pa.float32()), "plain", [1.5, math.inf]),
    ],
)
def test_numbers(column: pa.Array, form: str, expected: list[float]) -> None:
    assert np.array_equal(numbers(column, form), expected, equal_nan=True)


def test_booleans_are_numbers_only_where_they_may_be_flags() -> None:
    assert np.array_equal(
        numbers(pa.array([True, False, None]), may_be_flags=True), [1.0, 0.0, math.nan], equal_nan=True
    )
    with pytest.raises(WrongType, match=r"^must hold numbers, got bool$"):
        numbers(pa.array([True, False]))


@pytest.mark.parametrize(
    ("decimal", "good", "bad"),
    [
        (
            ".",
            {
                "1,234.50": 1234.5,
                "€1,234,567": 1234567.0,
                "1 234.5 £": 1234.5,
                "-$5": -5.0,
                ".5": 0.5,
                "1\u202f000": 1e3,
            },
            (
                "12,50 €",
                "1.234,50",
                "1,23",
                "1234,567",
                "1,2345",
                "1,234,56",
                "1,234 567",
                "12 50",
                "1_000",
                "$",
                "-$-5",
            ),
        ),
        (
            ",",
            {"12,50 €": 12.5, "1.234,50": 1234.5, "1,23": 1.23, "-1.234.567": -1234567.0, "1 234,5": 1234.5},
            ("1,234.50", "12.50", "1.23", "1,2,3", "1.2345"),
        ),
    ],
)
def test_a_separator_of_thousands_stands_before_groups_of_three_digits_alone(
    decimal: str, good: dict[str, float], bad: tuple[str, ...]
) -> None:
    assert numbers(pa.array(list(good)), "money", decimal).tolist() == list(good.values())
    assert np.isnan(numbers(pa.array(bad), "money", decimal)).all()


@pytest.mark.parametrize(
    ("column", "told", "expected"),
    [
        (pa.array(["2018-04-01 00:00:31", "2018-04-01T00:00:31", "2018-04-01"]), {}, [31, 31, 0]),
        (pa.array(["2018-04-01T02:00:31+02:00", "2018-04-01T00:00:31Z"]), {}, [31, 31]),
        (pa.array(["2018/04/01 00:01", "2018/04/01T00:00:31Z", "2018/04/01"]), {}, [60, 31, 0]),
        (pa.array(["01/04/2018", "4/1/2018 00:01", "2018/4/1"]), {}, [None, None, None]),  # whose day comes first?
        (pa.array(["2018-04-01 00:00:31.9", None, "noon"]), {}, [31, None, None]),
        (pa.array(["2018-04-01 02:00:00"]), {"zone": "Europe/Zurich"}, [0]),  # summer time
        (pa.array([datetime(2018, 4, 1, 0, 0, 31)]), {}, [31]),
        (pa.array([datetime(2018, 4, 1, 0, 0, 31, tzinfo=UTC)]), {"zone": "Europe/Zurich"}, [31]),
        (pa.array([date(2018, 4, 2)]), {}, [86_400]),
        (pa.array([APRIL, APRIL + 5]), {"form": "seconds"}, [0, 5]),
        (pa.array([(APRIL + 5) * 1000 + 999]), {"form": "milliseconds"}, [5]),
        (pa.array(["1", "2.5", "x"]), {"form": "hours", "start": "2018-04-01"}, [3_600, 9_000, None]),
        (pa.array([1]), {"form": "days", "start": "2018-04-01T00:00:00Z", "shift_days": -1}, [0]),
        (pa.array(["2018-04-08"]), {"shift_days": -7}, [0]),
        (pa.array([1e300, math.nan]), {"form": "seconds"}, [None, None]),
        (pa.array([None]), {}, [None]),
    ],
)
def test_times(column: pa.Array, told: dict[str, Any], expected: list[int | None]) -> None:
    assert times(column, origin(**told)).tolist() == [NO_TIME if e is None else APRIL + e for e in expected]


def test_times_that_are_numbers_need_a_form_and_a_zone_a_name() -> None:
    with pytest.raises(WrongType, match=r"^must hold times, or numbers with a form that says of what, got int64$"):
        times(pa.array([1]), origin())
    with pytest.raises(Invalid, match=r"^a zone must be a name such as Europe/Zurich, got 'Mars'$"):
        times(pa.array(["2018-04-01"]), origin(zone="Mars"))


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        (pa.array([0, 1, None, 2]), {}, [0, 1, -1, -2]),
        (pa.array(["0", "1", None, "yes", "1.0"]), {}, [0, 1, -1, -2, 1]),
        (pa.array([True, False]), {}, [1, 0]),
        (pa.array([0.0, 0.5, math.nan]), {}, [0, -2, -1]),
        (pa.array(["Yes", "No", None, "yes"]), {"Yes": 1, "No": 0}, [1, 0, -1, -2]),
        (pa.array([7, 9]), {"7": 1, "9": 0}, [1, 0]),
    ],
)
def test_flags(column: pa.Array, values: dict[str, int], expected: list[int]) -> None:
    assert flags(column, origin(values=values)).tolist() == expected


def test_ids_are_texts_and_whole_floats_have_no_point() -> None:
    assert texts(pa.array([7.0, None, 8.0])).to_pylist() == ["7", None, "8"]
    assert texts(pa.array(["a", "", None])).to_pylist() == ["a", None, None]
    with pytest.raises(WrongType, match=r"^must hold ids, got fractions$"):
        texts(pa.array([7.5]))


def chunk(**columns: pa.Array) -> Chunk:
    return Chunk("f.csv", columns, 0)


def test_columns_are_joined_and_missing_texts_are_nothing() -> None:
    made = chunk(a=pa.array(["1", "NA"]), b=pa.array([2, 3]))
    assert cells(made, Origin(columns=("a", "b")), ("NA",)).to_pylist() == ["1-2", None]
    assert cells(made, Origin(columns=("a",)), ("NA",)).to_pylist() == ["1", None]
    assert cells(made, Origin(columns=("a",)), ()).to_pylist() == ["1", "NA"]


def test_parts_of_a_date_become_a_time() -> None:
    made = chunk(y=pa.array([2018]), m=pa.array([4]), d=pa.array(["1"]), t=pa.array(["9:05"]))
    form = Origin(columns=("y", "m", "d", "t"), form="date parts")
    assert cells(made, form, ("",)).to_pylist() == ["2018-04-01 09:05"]
    assert times(cells(made, form, ("",)), form).tolist() == [APRIL + 9 * 3_600 + 300]


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_texts_of_every_type_are_texts(kind: pa.DataType) -> None:
    column = (
        pa.array(["1.5", "NA"], pa.string()).cast(kind) if kind != pa.string_view() else pa.array(["1.5", "NA"], kind)
    )
    made = cells(chunk(a=column), Origin(columns=("a",)), ("NA",))
    assert made.to_pylist() == ["1.5", None]
    assert numbers(made)[0] == 1.5


def test_a_cell_in_a_sentence_is_short() -> None:
    assert shown(pa.array(["x" * 100]), 0) == repr("x" * 40)
    assert [shown(pa.array([1.0, None]), index) for index in (0, 1)] == ["1", "nothing"]
