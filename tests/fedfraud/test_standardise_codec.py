"""Exact sums for the scaler: what they give, bounds that cannot wrap, and a sentence for each refusal."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedfraud.errors import Invalid
from fedfraud.fixed_point import LIMB_BITS, MAX_SEATS, ROW_CAP, Segment, Words
from fedfraud.layout import Layout
from fedfraud.standardise_codec import LIMBS, VALUE_CAP, StandardiseCodec
from tests.fedfraud.test_fixed_point import MANIFEST, RECIPE, added, words


def limbs(value: int) -> list[int]:
    return [value >> (LIMB_BITS * place) & (2**LIMB_BITS - 1) for place in range(LIMBS)]


def standardised(total: int, squares: int, rows: int, frauds: int = 0) -> Words:
    """One column's segment with these sums."""
    return words(*limbs(total), *limbs(squares), rows, frauds)


def integer_features(*rows: list[float]) -> NDArray[np.float64]:
    return np.array(rows, np.float64)


def test_rows_1_and_3_have_mean_2_and_deviation_1() -> None:
    codec = StandardiseCodec((1.0,))
    opened = codec.decode(codec.encode(integer_features([1], [3]), np.array([True, False])))
    assert (opened.means.tolist(), opened.deviations.tolist()) == ([2.0], [1.0])
    assert (opened.row_count, opened.fraud_count) == (2, 1)


def test_values_are_rounded_to_the_resolution_and_given_back_in_the_unit() -> None:
    codec = StandardiseCodec((0.5,))
    opened = codec.decode(codec.encode(integer_features([1.1], [2.9]), np.zeros(2, bool)))  # 1.0 and 3.0
    assert (opened.means.tolist(), opened.deviations.tolist()) == ([2.0], [1.0])


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.integers(-VALUE_CAP + 1, VALUE_CAP - 1), min_size=1, max_size=6),  # a bank's only column
        min_size=1,
        max_size=8,
    )
)
def test_sums_over_banks_are_pythons_own_big_integers(banks: list[list[int]]) -> None:
    codec = StandardiseCodec((1.0,))
    encoded = [codec.encode(np.array(b, np.float64)[:, None], np.zeros(len(b), bool)) for b in banks]
    for one in encoded:
        codec.check(one)
    opened = codec.decode(added(encoded))
    values = [value for bank in banks for value in bank]
    count, total, squares = len(values), sum(values), sum(value * value for value in values)
    variance = Fraction(count * squares - total * total, count * count)
    assert opened.row_count == count
    assert opened.means[0] == total / count
    assert opened.deviations[0] == pytest.approx(float(variance) ** 0.5 if variance else 1.0, rel=1e-15)


def test_limbs_hold_a_negative_sum_and_squares_above_2_to_the_64() -> None:
    value = -(VALUE_CAP - 1)
    segment = StandardiseCodec((1.0,)).encode(integer_features([value], [value]), np.zeros(2, bool))
    assert segment.tolist() == standardised(2 * value, 2 * value * value, rows=2).tolist()


def test_limbs_carry_when_a_thousand_banks_are_added() -> None:
    codec = StandardiseCodec((1.0,))
    bank = codec.encode(integer_features([2**32 - 1], [-1]), np.zeros(2, bool))  # sums 2**32 - 2 and (2**32-1)**2 + 1
    total = bank * np.uint64(1000)
    assert int(total[0]) > 2**LIMB_BITS  # the lowest limb overflowed its 32 bits
    opened = codec.decode(total)
    assert opened.means[0] == (2**32 - 2) / 2
    assert opened.deviations[0] == 2**31


def test_a_constant_column_has_deviation_1() -> None:
    codec = StandardiseCodec((2.0**-20,))
    opened = codec.decode(codec.encode(np.full((7, 1), 0.1), np.zeros(7, bool)))
    assert opened.deviations.tolist() == [1.0]
    assert opened.means[0] == pytest.approx(0.1, abs=2**-21)


def test_means_and_deviations_agree_with_numpy_on_benign_data() -> None:
    units = np.random.default_rng(7).integers(-(2**22), 2**22, (500, 3))
    features = units * 2.0**-20
    codec = StandardiseCodec((2.0**-20,) * 3)
    parts = [codec.encode(part, np.zeros(len(part), bool)) for part in np.split(features, [100, 101, 350])]
    opened = codec.decode(added(parts))
    np.testing.assert_allclose(opened.means, features.mean(0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(opened.deviations, features.std(0), rtol=1e-12)


def test_a_deviation_of_1_is_found_at_2_to_the_39_where_float_sums_cancel() -> None:
    features = integer_features([2**39 - 1], [2**39 + 1])
    naive = (features**2).mean() - features.mean() ** 2
    assert naive != 1.0
    codec = StandardiseCodec((1.0,))
    assert codec.decode(codec.encode(features, np.zeros(2, bool))).deviations.tolist() == [1.0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2.0**40, -(2.0**40)])
def test_a_bad_value_is_refused_by_row_and_column(value: float) -> None:
    features = np.zeros((3, 2))
    features[2, 1] = value
    with pytest.raises(Invalid, match=r"^a value must be finite and below 2\*\*40 .*, got .* in row 2, column 1$"):
        StandardiseCodec((1.0, 1.0)).encode(features, np.zeros(3, bool))


def test_features_and_labels_of_the_wrong_shape_are_refused() -> None:
    codec = StandardiseCodec((1.0, 1.0))
    with pytest.raises(Invalid, match=r"^features must have 2 columns, got shape \(3, 1\)$"):
        codec.encode(np.zeros((3, 1)), np.zeros(3, bool))
    with pytest.raises(Invalid, match=r"^labels must be one a row, 3, got shape \(2,\)$"):
        codec.encode(np.zeros((3, 2)), np.zeros(2, bool))


@pytest.mark.parametrize(
    ("segment", "sentence"),
    [
        (words(2**32, 0, 0, 0, *limbs(0), 1, 0), r"a limb must be below 2\*\*32, got 4294967296"),
        (standardised(0, 0, rows=0), r"rows must be 1 to 17179869184, got 0"),
        (standardised(0, 0, rows=ROW_CAP + 1), r"rows must be 1 to 17179869184, got 17179869185"),
        (standardised(0, 0, rows=-1), r"rows must be 1 to 17179869184, got 18446744073709551615"),
        (standardised(0, 0, rows=3, frauds=4), r"frauds must be at most the rows, 3, got 4"),
        (standardised(0, 2 * VALUE_CAP**2 + 1, rows=2), r"a sum of squares must be .*, got \d+ in column 0"),
        (standardised(3, 4, rows=2), r"a sum's square must be .* sum of squares, 8, got 9 in column 0"),
        (standardised(0, -1, rows=1), r"a sum's square must be .* sum of squares, -1, got 0 in column 0"),
    ],
)
def test_check_refuses_a_standardise_segment_out_of_bounds(segment: Words, sentence: str) -> None:
    with pytest.raises(Invalid, match=f"^{sentence}$"):
        StandardiseCodec((1.0,)).check(segment)


@pytest.mark.parametrize("sign", [1, -1])
def test_standardise_sums_do_not_wrap_with_every_seat_at_its_bound(sign: int) -> None:
    codec = StandardiseCodec((1.0,))
    bound = standardised(sign * ROW_CAP * VALUE_CAP, ROW_CAP * VALUE_CAP**2, rows=ROW_CAP, frauds=ROW_CAP)
    codec.check(bound)
    opened = codec.decode(bound * np.uint64(MAX_SEATS))
    assert opened.means.tolist() == [sign * float(VALUE_CAP)]
    assert opened.deviations.tolist() == [1.0]  # every value is the same
    assert (opened.row_count, opened.fraud_count) == (MAX_SEATS * ROW_CAP, MAX_SEATS * ROW_CAP)


def test_every_limb_may_be_full_at_every_seat() -> None:
    full = 2**LIMB_BITS - 1
    assert MAX_SEATS * full < 2**64  # no word wraps; the carried value of all limbs is minus one, MAX_SEATS times
    codec = StandardiseCodec((1.0,))
    minus_one = codec.encode(integer_features([-1]), np.zeros(1, bool))
    assert minus_one[:LIMBS].tolist() == [full] * LIMBS
    assert codec.decode(minus_one * np.uint64(MAX_SEATS)).means.tolist() == [-1.0]


def test_a_standardise_segment_of_thirty_features_has_242_words() -> None:
    assert Layout((Segment.STANDARDISE,), MANIFEST, RECIPE).length == 242


def test_sums_of_many_rows_are_the_sums_of_their_parts_and_a_bad_row_has_its_number() -> None:
    codec = StandardiseCodec((1.0,))
    features, labels = np.arange(200_001, dtype=np.float64)[:, None], np.zeros(200_001, np.bool_)
    words = codec.encode(features, labels)
    assert (int(words[0]), int(words[1])) == (20_000_100_000 % 2**32, 20_000_100_000 >> 32)
    assert int(words[4]) + (int(words[5]) << 32) == 200_000 * 200_001 * 400_001 // 6
    features[150_000] = np.nan
    with pytest.raises(Invalid, match=r"got nan in row 150000, column 0$"):
        codec.encode(features, labels)
