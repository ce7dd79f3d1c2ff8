"""Values to integers and back: exact sums, bounds that cannot wrap, and a sentence for each refusal."""

import random
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from fedfraud.errors import Invalid, Misconfigured
from fedfraud.feature_plan import PLANS
from fedfraud.fixed_point import (
    CELL_CAP,
    MAX_SEATS,
    SCORED_CAP,
    WEIGHT_CAP,
    CountCodec,
    EvaluateCodec,
    Segment,
    TrainCodec,
    Words,
    from_bytes,
    to_bytes,
)
from fedfraud.layout import codec_for
from fedfraud.manifest import Manifest
from fedfraud.recipe import recipe_named
from fedfraud.transactions import CARDS, TUTORIAL

MANIFEST = Manifest("tutorial", TUTORIAL)
RECIPE = recipe_named("default")
ONE = 2**24
"""1.0 in fixed point."""


def f32(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def words(*values: int) -> Words:
    return np.array([value % 2**64 for value in values], np.uint64)


def added(contributions: list[Words]) -> Words:
    """The sum modulo 2**64, as the aggregator forms it."""
    total: Words = np.stack(contributions).sum(axis=0, dtype=np.uint64)
    return total


# --- train


def test_banks_of_weight_1_and_3_with_0_and_4_average_to_3() -> None:
    codec = TrainCodec(2, clip=4.0)
    opened = codec.decode(added([codec.encode(f32(0, 0), 1), codec.encode(f32(4, -4), 3)]))
    assert opened.average.tolist() == [3.0, -3.0]
    assert (opened.weight, opened.clipped) == (4, 0)


def test_an_update_is_its_weight_times_2_to_the_24_then_the_weight_then_the_clipped_count() -> None:
    assert TrainCodec(2, clip=4.0).encode(f32(1, -0.5), 3).view(np.int64).tolist() == [3 * ONE, -3 * ONE // 2, 3, 0]


def test_the_codec_alone_says_where_update_weight_and_clipped_count_lie() -> None:
    codec = TrainCodec(2, clip=4.0)
    segment = codec.encode(f32(1, -9), 3)
    assert segment[codec.coordinates()].view(np.int64).tolist() == [3 * ONE, -12 * ONE]
    assert codec.opened_counts(segment[codec.counts()]) == (3, 1)
    behind = np.concatenate([words(7, 7, 7, 7, 7), segment])  # as the second segment of a contribution
    assert (codec.coordinates(5), codec.counts(5)) == (slice(5, 7), slice(7, 9))
    assert codec.opened_counts(behind[codec.counts(5)]) == (3, 1)


def test_coordinates_beyond_the_clip_are_clipped_and_counted() -> None:
    codec = TrainCodec(4, clip=2.0)
    opened = codec.decode(added([codec.encode(f32(2, 2.5, -9, 0), 1), codec.encode(f32(3, 2, -2, 0), 1)]))
    assert opened.average.tolist() == [2.0, 2.0, -2.0, 0.0]
    assert opened.clipped == 3


def test_half_a_unit_rounds_to_the_even_neighbour() -> None:
    halves = f32(0.5, 1.5, 2.5, -0.5, -1.5) / np.float32(ONE)
    assert TrainCodec(5, clip=4.0).encode(halves, 1).view(np.int64)[:5].tolist() == [0, 2, 2, 0, -2]


def test_sums_may_be_negative() -> None:
    codec = TrainCodec(1, clip=4.0)
    total = added([codec.encode(f32(1), 1), codec.encode(f32(-3), 1)])
    assert int(total[0]) == 2**64 - 2 * ONE
    assert codec.decode(total).average.tolist() == [-1.0]


weighted_updates = st.lists(
    st.tuples(arrays(np.float32, 3, elements=st.floats(-4, 4, width=32)), st.integers(1, WEIGHT_CAP)),
    min_size=1,
    max_size=12,
)


@settings(deadline=None)
@given(weighted_updates, st.randoms(use_true_random=False))
def test_the_average_is_the_exact_rational_one_within_half_a_unit_in_any_order(
    banks: list[tuple[NDArray[np.float32], int]], chance: random.Random
) -> None:
    codec = TrainCodec(3, clip=4.0)
    encoded = [codec.encode(update, weight) for update, weight in banks]
    total = added(encoded)
    chance.shuffle(encoded)
    assert added(encoded).tobytes() == total.tobytes()
    weight = sum(weight for _, weight in banks)
    for coordinate, average in enumerate(codec.decode(total).average):
        exact = sum((Fraction(float(update[coordinate])) * w for update, w in banks), Fraction()) / weight
        # Half a unit for rounding to 2**-24, and the last bit of two float64 operations on values up to 4.
        assert abs(Fraction(float(average)) - exact) <= Fraction(1, 2**25) + Fraction(1, 2**49)


@pytest.mark.parametrize(
    ("update", "weight", "sentence"),
    [
        (f32(1), 1, r"an update must have 2 coordinates, got 1"),
        (f32(1, 1), 0, r"a weight must be 1 to 1048576, got 0"),
        (f32(1, 1), WEIGHT_CAP + 1, r"a weight must be 1 to 1048576, got 1048577"),
    ],
)
def test_a_bank_cannot_encode_what_breaks_a_rule(update: NDArray[np.float32], weight: int, sentence: str) -> None:
    with pytest.raises(Invalid, match=f"^{sentence}$"):
        TrainCodec(2, clip=4.0).encode(update, weight)


def test_a_coordinate_that_is_not_finite_becomes_0_and_counts_as_clipped() -> None:
    """Were it refused, a model made to overflow on some rows would tell whether a bank has one of them."""
    codec = TrainCodec(5, clip=4.0)
    encoded = codec.encode(f32(1, np.nan, np.inf, -np.inf, -5), 3)
    codec.check(encoded)
    assert codec.decode(encoded).average.tolist() == [1, 0, 0, 0, -4]
    assert codec.decode(encoded).clipped == 4


@pytest.mark.parametrize(
    ("segment", "sentence"),
    [
        (words(0, 0, 0, 0), r"a weight must be 1 to 1048576, got 0"),
        (words(0, 0, -1, 0), r"a weight must be 1 to 1048576, got -1"),
        (words(0, 0, WEIGHT_CAP + 1, 0), r"a weight must be 1 to 1048576, got 1048577"),
        (words(0, 8 * ONE + 1, 2, 0), r"a coordinate must lie .*, ±134217728, got 134217729 at coordinate 1"),
        (words(-8 * ONE - 1, 0, 2, 0), r"a coordinate must lie .*, ±134217728, got -134217729 at coordinate 0"),
        (words(2**63, 0, 1, 0), r"a coordinate must lie .*, ±67108864, got -9223372036854775808 at coordinate 0"),
        (words(0, 0, 1, 3), r"clipped coordinates must be 0 to 2, got 3"),
        (words(0, 0, 1, -1), r"clipped coordinates must be 0 to 2, got -1"),
    ],
)
def test_check_refuses_a_train_segment_out_of_bounds(segment: Words, sentence: str) -> None:
    with pytest.raises(Invalid, match=f"^{sentence}$"):
        TrainCodec(2, clip=4.0).check(segment)


@pytest.mark.parametrize(
    ("total", "sentence"),
    [
        (words(0, 0, 2, 0), "a sum of 3 weights must be 3 to 3145728, got 2"),
        (words(0, 0, 3 * WEIGHT_CAP + 1, 0), "a sum of 3 weights must be 3 to 3145728, got 3145729"),
        (words(0, 0, -1, 0), "a sum of 3 weights must be 3 to 3145728, got -1"),
        (words(0, 40 * ONE + 1, 10, 0), "weight times the clip, ±671088640, got 671088641 at coordinate 1"),
        (words(-40 * ONE - 1, 0, 10, 0), "weight times the clip, ±671088640, got -671088641 at coordinate 0"),
        (words(-(2**63), 0, 10, 0), "got -9223372036854775808 at coordinate 0"),
        (words(0, 0, 10, 7), "clipped coordinates must be 0 to 6, got 7"),
        (words(0, 0, 10, -1), "clipped coordinates must be 0 to 6, got -1"),
    ],
)
def test_a_sum_that_three_honest_banks_cannot_have_is_refused(total: Words, sentence: str) -> None:
    with pytest.raises(Invalid, match=re.escape(sentence)):
        TrainCodec(2, clip=4.0).check_sum(total, 3)


def test_a_sum_at_the_bounds_of_three_banks_is_accepted() -> None:
    codec, bank = TrainCodec(2, clip=4.0), words(4 * ONE * WEIGHT_CAP, -4 * ONE * WEIGHT_CAP, WEIGHT_CAP, 2)
    codec.check_sum(added([bank, bank, bank]), 3)
    codec.check_sum(words(0, 0, 3, 0), 3)


def test_check_accepts_a_train_segment_at_its_bounds() -> None:
    codec = TrainCodec(2, clip=4.0)
    codec.check(words(4 * ONE * WEIGHT_CAP, -4 * ONE * WEIGHT_CAP, WEIGHT_CAP, 2))
    codec.check(words(0, 0, 1, 0))


def test_a_sum_without_weight_is_refused() -> None:
    with pytest.raises(Invalid, match=r"^a sum of weights must be at least 1, got 0$"):
        TrainCodec(1, clip=4.0).decode(words(0, 0, 0))


@pytest.mark.parametrize("clip", [128.0, 1e6, 1e308])
def test_a_clip_whose_sum_could_wrap_refuses_to_start(clip: float) -> None:
    with pytest.raises(Misconfigured, match=r"^a clip must be at most 127.99999994, .*, got"):
        TrainCodec(1, clip).check_capacity()


@pytest.mark.parametrize("clip", [4.0, 127.5, 128 - 2.0**-24])
def test_a_clip_that_may_start_does_not_wrap_with_every_seat_at_its_bound(clip: float) -> None:
    codec = TrainCodec(2, clip)
    codec.check_capacity()
    largest = codec.encode(f32(1e9, -1e9), WEIGHT_CAP)
    codec.check(largest)
    opened = codec.decode(largest * np.uint64(MAX_SEATS))
    assert opened.average.tolist() == pytest.approx([clip, -clip], rel=1e-15)
    assert (opened.weight, opened.clipped) == (MAX_SEATS * WEIGHT_CAP, MAX_SEATS * 2)


def test_every_recipe_may_start() -> None:
    for name in ("tutorial", "default"):
        TrainCodec(MANIFEST.parameter_count, recipe_named(name).clip).check_capacity()


# --- evaluate: its arithmetic is tested with the metrics; here the bound


def test_a_score_that_is_no_number_is_the_lowest_and_an_infinite_one_is_at_its_end() -> None:
    codec = EvaluateCodec()
    logits = f32(np.nan, -np.inf, np.inf, 0, -0.0)
    assert codec.places(logits).tolist() == [0, 0, codec.bins - 1, codec.bins // 2, codec.bins // 2]
    assert codec.places(logits.astype(np.float64)).tolist() == codec.places(logits).tolist()


def test_histogram_counts_do_not_wrap_with_every_seat_at_its_bound() -> None:
    codec = EvaluateCodec()
    bound = np.zeros(codec.length, np.uint64)
    bound[0] = SCORED_CAP
    codec.check(bound)
    legitimate, frauds = codec.decode(bound * np.uint64(MAX_SEATS))
    assert (legitimate[0], frauds.sum()) == (MAX_SEATS * SCORED_CAP, 0)


def test_a_histogram_of_more_rows_than_a_bank_may_have_is_refused() -> None:
    codec = EvaluateCodec()
    with pytest.raises(
        Invalid, match=rf"^a histogram's rows must be at most {SCORED_CAP}, got {codec.length * SCORED_CAP}$"
    ):
        codec.check(np.full(codec.length, SCORED_CAP, np.uint64))


# --- bytes


def test_words_cross_the_wire_as_little_endian_and_whole() -> None:
    assert to_bytes(words(1, 2**64 - 1)) == b"\x01" + b"\0" * 7 + b"\xff" * 8
    assert from_bytes(to_bytes(words(1, -1))).tolist() == [1, 2**64 - 1]
    with pytest.raises(Invalid, match=r"^a contribution must be a multiple of 8 bytes, got 9$"):
        from_bytes(b"123456789")


COUNTS = CountCodec(bucket_count=4, day_count=3)


def counts_at_random(draws: np.random.RandomState) -> NDArray[np.int64]:
    return draws.randint(-CELL_CAP, CELL_CAP + 1, (4, 3, 2)).astype(np.int64)


def test_counters_of_all_banks_are_the_sum_of_each_banks_counts() -> None:
    draws = np.random.RandomState(7)
    each = [counts_at_random(draws) for _ in range(50)]
    total = added([COUNTS.encode(counts) for counts in each])
    assert np.array_equal(COUNTS.decode(total), np.sum(each, axis=0))
    assert COUNTS.length == len(total) == 12


@pytest.mark.parametrize("sign", [1, -1])
def test_a_cell_is_full_at_its_cap_and_the_sum_of_all_seats_carries_into_nothing(sign: int) -> None:
    full = COUNTS.encode(np.full((4, 3, 2), sign * 2**60))
    assert (COUNTS.decode(full) == sign * CELL_CAP).all()
    most = full * np.uint64(MAX_SEATS)
    assert (COUNTS.decode(most) == sign * CELL_CAP * MAX_SEATS).all()
    COUNTS.check_sum(most, MAX_SEATS)
    COUNTS.check(full)


@pytest.mark.parametrize("one_more", [1, 2**32])
def test_a_cell_beyond_its_cap_is_refused(one_more: int) -> None:
    full = COUNTS.encode(np.full((4, 3, 2), CELL_CAP))
    full[5] += np.uint64(one_more)
    with pytest.raises(Invalid, match=rf"^a cell must count within ±{CELL_CAP}, got {CELL_CAP + 1}$"):
        COUNTS.check(full)
    COUNTS.check_sum(full, 2)


def test_counts_have_the_plans_shape_and_belong_to_transactions() -> None:
    plan = PLANS["cards"]
    codec = codec_for(Segment.COUNT, Manifest("cards", CARDS, feature_plan=plan), RECIPE)
    assert codec == CountCodec(65_536, 52)
    with pytest.raises(Invalid, match=r"^counts must have shape \(4, 3, 2\), got \(4, 3\)$"):
        COUNTS.encode(np.zeros((4, 3), np.int64))
    with pytest.raises(Invalid, match=r"^a count segment must be of transactions, the population 'tutorial' has none$"):
        codec_for(Segment.COUNT, MANIFEST, RECIPE)
