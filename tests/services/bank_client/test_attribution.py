"""Integrated gradients: complete, and what many small steps come to."""

import itertools

import numpy as np
import pytest

from services.bank_client.attribution import Floats, Layers, _gradients, integrated_gradients, logits

DRAWS = np.random.default_rng(7)


def layers(*sizes: int) -> Layers:
    pairs = itertools.pairwise(sizes)
    return tuple((DRAWS.normal(size=(after, before)), DRAWS.normal(size=after)) for before, after in pairs)


def test_of_a_linear_network_each_part_is_weight_times_input() -> None:
    network: Layers = ((np.array([[2.0, -3.0]]), np.array([5.0])),)
    assert integrated_gradients(network, np.array([[1.0, 4.0], [0.0, -1.0]])).tolist() == [[2.0, -12.0], [0.0, 3.0]]


def test_a_kink_is_taken_where_it_is() -> None:
    # The unit is max(x - 1, 0): from 0 to 4 three quarters of the line have slope 1, so the part is 4 * 3/4 = 3.
    network: Layers = ((np.array([[1.0]]), np.array([-1.0])), (np.array([[1.0]]), np.array([0.5])))
    assert integrated_gradients(network, np.array([[4.0], [0.5], [-2.0]]))[:, 0].tolist() == [3.0, 0.0, 0.0]


@pytest.mark.parametrize("sizes", [(3, 4, 1), (15, 64, 32, 1), (30, 8, 8, 8, 1)])
def test_parts_add_up_to_the_logit_less_the_baseline_s(sizes: tuple[int, ...]) -> None:
    network, inputs = layers(*sizes), DRAWS.normal(size=(600, sizes[0])) * 3  # more than a block of rows
    parts = integrated_gradients(network, inputs)
    expected = logits(network, inputs) - logits(network, np.zeros((1, sizes[0])))
    assert np.abs(parts.sum(axis=1) - expected).max() < 1e-9 * np.abs(expected).max()


def test_many_small_steps_come_to_the_same() -> None:
    network, inputs = layers(5, 16, 8, 1), DRAWS.normal(size=(4, 5))
    steps = (np.arange(20_000) + 0.5) / 20_000
    for row, parts in zip(inputs, integrated_gradients(network, inputs), strict=True):
        weight, bias = network[0]
        stepped: Floats = _gradients(network, steps[:, None] * (weight @ row) + bias).mean(axis=0) @ weight * row
        assert np.abs(stepped - parts).max() < 1e-3


def test_the_gradient_is_what_a_small_change_of_an_input_does() -> None:
    network, row = layers(5, 16, 8, 1), DRAWS.normal(size=5)
    weight, bias = network[0]
    by_inputs = _gradients(network, (weight @ row + bias)[None])[0] @ weight
    for place in range(5):
        moved = np.tile(row, (2, 1))
        moved[:, place] += (-1e-6, 1e-6)
        below, above = logits(network, moved)
        assert (above - below) / 2e-6 == pytest.approx(by_inputs[place], rel=1e-6, abs=1e-6)


def test_a_row_at_the_baseline_has_no_parts_and_a_row_alone_has_the_same() -> None:
    network, inputs = layers(5, 16, 8, 1), DRAWS.normal(size=(3, 5))
    inputs[1] = 0
    parts = integrated_gradients(network, inputs)
    assert parts[1].tolist() == [0.0] * 5
    assert np.abs(integrated_gradients(network, inputs[2:]) - parts[2:]).max() < 1e-12
    assert integrated_gradients(network, np.empty((0, 5))).shape == (0, 5)
