"""What each input adds to a network's logit: integrated gradients, by their finite sum.

Sundararajan, Taly and Yan 2017, "Axiomatic Attribution for Deep Networks": an input's part is its difference from a
baseline times the mean of the logit's gradient along the straight line between the two. The baseline here is 0 of the
standardised inputs: the mean of all banks' training rows, one that every bank has and that nearly all legitimate rows
make up. A network of ReLUs is linear between its kinks, so the mean is taken from kink to kink and not by steps: the
parts add up to the logit less the baseline's, but for rounding.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Layers = tuple[tuple[Floats, Floats], ...]
"""Each layer's weight (outputs, inputs) and bias (outputs,); ReLU after all but the last."""

_BLOCK_ROWS = 256


def logits(layers: Layers, inputs: Floats) -> Floats:
    """(rows, inputs) to (rows,)."""
    return _before_relu(layers, inputs)[:, 0]


def integrated_gradients(layers: Layers, inputs: Floats) -> Floats:
    """(rows, inputs): what each input of each row adds to the row's logit."""
    parts = np.empty_like(inputs)
    for start in range(0, len(inputs), _BLOCK_ROWS):  # a row has a hundred kinks and more
        block = slice(start, start + _BLOCK_ROWS)
        parts[block] = _integrated(layers, inputs[block])
    return parts


def _integrated(layers: Layers, inputs: Floats) -> Floats:
    row, place = _kinks(layers, inputs)
    left = np.flatnonzero(row[1:] == row[:-1])  # of each piece between two kinks
    middle, length = (place[left] + place[left + 1]) / 2, place[left + 1] - place[left]
    gradients = _gradients(layers, middle[:, None] * inputs[row[left]]) * length[:, None]
    return inputs * np.add.reduceat(gradients, np.searchsorted(row[left], np.arange(len(inputs))))


def _kinks(layers: Layers, inputs: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The row and the place, 0 to 1, of every kink on the rows' lines, in order, and of their ends.

    A layer is linear between the kinks of those before it: where a unit's sign changes between two, it crosses 0 once.
    """
    row, place = np.repeat(np.arange(len(inputs)), 2), np.tile([0.0, 1.0], len(inputs))
    for depth in range(1, len(layers)):
        units = _before_relu(layers[:depth], place[:, None] * inputs[row])
        changes = (np.sign(units[:-1]) * np.sign(units[1:]) < 0) & (row[:-1] == row[1:])[:, None]
        left, unit = np.nonzero(changes)
        before, after = units[left, unit], units[left + 1, unit]
        found = place[left] + (place[left + 1] - place[left]) * (before / (before - after))
        row, place = np.concatenate([row, row[left]]), np.concatenate([place, found])
        order = np.lexsort((place, row))
        row, place = row[order], place[order]
    return row, place


def _before_relu(layers: Layers, inputs: Floats) -> Floats:
    """What the last of these layers gives, before any ReLU."""
    for weight, bias in layers[:-1]:
        inputs = np.maximum(inputs @ weight.T + bias, 0)
    weight, bias = layers[-1]
    return np.asarray(inputs @ weight.T + bias)


def _gradients(layers: Layers, inputs: Floats) -> Floats:
    """(rows, inputs): the logit's derivative by each input."""
    active = []
    for weight, bias in layers[:-1]:
        inputs = np.maximum(inputs @ weight.T + bias, 0)
        active.append(inputs > 0)
    gradients = np.repeat(layers[-1][0], len(inputs), axis=0)
    for (weight, _), on in zip(reversed(layers[:-1]), reversed(active), strict=True):
        gradients = (gradients * on) @ weight
    return gradients
