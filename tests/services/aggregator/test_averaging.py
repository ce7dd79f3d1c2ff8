"""Weighted averages in numbers that one can check in the head: weights 1 and 3, vectors 0 and 4."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from fedfraud.fixed_point import TrainCodec, Words
from fedfraud.recipe import Recipe, WeightRule
from fedfraud.standardise_codec import StandardiseSum
from services.aggregator.averaging import exact_sum, run_state, server_step

CODEC = TrainCodec(parameter_count=2, clip=4.0)


def contribution(value: float, weight: int) -> Words:
    return CODEC.encode(np.full(2, value, np.float32), weight)


def test_weights_1_and_3_of_vectors_0_and_4_average_to_3() -> None:
    total = exact_sum([contribution(0.0, 1), contribution(4.0, 3)], CODEC.length)
    opened = CODEC.decode(total)
    assert opened.average.tolist() == [3.0, 3.0]
    assert (opened.weight, opened.clipped) == (4, 0)


def test_a_sum_has_the_same_bits_in_any_order() -> None:
    draws = np.random.default_rng(7)
    parts = [CODEC.encode(draws.normal(size=2).astype(np.float32), weight) for weight in (1, 10, 1000, 2**20)]
    totals = {exact_sum(order, CODEC.length).tobytes() for order in itertools.permutations(parts)}
    assert len(totals) == 1


def test_updates_that_cancel_leave_nothing_behind() -> None:
    # In float32 1e-7 + 1 - 1 is not 1e-7: here nothing is lost.
    parts = [contribution(value, 1) for value in (2.0**-20, 1.0, -1.0)]
    assert (CODEC.decode(exact_sum(parts, CODEC.length)).average * 3).tolist() == [2.0**-20, 2.0**-20]


def test_a_sum_is_taken_one_contribution_at_a_time() -> None:
    alive: list[int] = []

    def parts() -> Iterator[Words]:
        for number in range(3):
            alive.append(number)
            yield contribution(1.0, 1)

    assert CODEC.decode(exact_sum(parts(), CODEC.length)).average.tolist() == [1.0, 1.0]
    assert alive == [0, 1, 2]
    assert exact_sum([], 2).tolist() == [0, 0]


def test_a_step_without_momentum_adds_the_average() -> None:
    vector, velocity = server_step(np.array([1, 2], np.float32), np.array([9.0, 9.0]), np.array([3.0, -2.0]), 0.0)
    assert vector.tolist() == [4.0, 0.0]
    assert velocity.tolist() == [3.0, -2.0]
    assert vector.dtype == np.float32


def test_the_server_step_is_in_double_precision_and_rounds_once() -> None:
    before, former, average = np.array([1 + 2**-23], np.float32), np.array([2**-25 + 2**-50]), np.array([2**-26])
    vector, velocity = server_step(before, former, average, 0.5)
    assert velocity[0] == 2**-25 + 2**-51  # float32 keeps no such tail
    assert vector[0] == np.float32(1 + 2**-23 + 2**-25)
    vector, _ = server_step(np.ones(1, np.float32), np.zeros(1), np.array([2**-24 + 2**-50]), 0.5)
    assert vector[0] == np.float32(1 + 2**-23)  # just over the middle, where what is rounded before goes to the even 1
    assert (before[0], former[0]) == (np.float32(1 + 2**-23), 2**-25 + 2**-50)  # they are whose they were


def test_momentum_of_a_half_carries_half_of_each_step_on() -> None:
    vector, velocity = np.zeros(1, np.float32), np.zeros(1)
    seen = []
    for average in (4.0, 0.0, 0.0):
        vector, velocity = server_step(vector, velocity, np.array([average]), 0.5)
        seen.append((vector[0], velocity[0]))
    assert seen == [(4, 4), (6, 2), (7, 1)]


@pytest.mark.parametrize(
    ("rule", "scale"),
    [
        (WeightRule.ROWS, 2**20 / 100),
        (WeightRule.HARMONIC, 2**20 / 32),  # 2 * 20 * 80 / 100
        (WeightRule.SQRT_FRAUD, 2**20 / 20**0.5),
    ],
)
def test_the_scale_gives_a_bank_with_all_rows_the_largest_weight(rule: WeightRule, scale: float) -> None:
    opened = StandardiseSum(np.array([1.0]), np.array([2.0]), 100, 20)
    state = run_state(opened, Recipe("r", 0.1, 8, weight_rule=rule))
    assert state.weight_scale == scale
    assert (state.means, state.deviations, state.row_count, state.fraud_count) == ((1.0,), (2.0,), 100, 20)


def test_a_cohort_without_a_fraud_still_has_a_scale() -> None:
    opened = StandardiseSum(np.array([1.0]), np.array([2.0]), 100, 0)
    assert run_state(opened, Recipe("r", 0.1, 8, weight_rule=WeightRule.SQRT_FRAUD)).weight_scale == 1.0
