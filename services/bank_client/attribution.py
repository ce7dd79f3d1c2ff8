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
    weight, bias = layers[0]
    return _onwards(layers, inputs @ weight.T + bias)[-1][:, 0]


def integrated_gradients(layers: Layers, inputs: Floats) -> Floats:
    """(rows, inputs): what each input of each row adds to the row's logit."""
    parts = np.empty_like(inputs)
    for start in range(0, len(inputs), _BLOCK_ROWS):  # a row has some fifty kinks
        block = slice(start, start + _BLOCK_ROWS)
        parts[block] = _integrated(layers, inputs[block])
    return parts


def _integrated(layers: Layers, inputs: Floats) -> Floats:
    weight, bias = layers[0]
    slopes = inputs @ weight.T  # along a row's line its first layer is place * slope + bias
    row, place = _kinks(layers, slopes)
    left = np.flatnonzero(row[1:] == row[:-1])  # of each piece between two kinks
    middle, length = (place[left] + place[left + 1]) / 2, place[left + 1] - place[left]
    gradients = _gradients(layers, middle[:, None] * slopes[row[left]] + bias) * length[:, None]
    means = np.add.reduceat(gradients, np.searchsorted(row[left], np.arange(len(inputs))))
    return np.asarray(inputs * (means @ weight))


def _kinks(layers: Layers, slopes: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The row and the place, 0 to 1, of every kink on the rows' lines, in order, and of their ends.

    A layer is linear between the kinks of those before it: where a unit's sign changes between two, it crosses 0 once.
    """
    row, place = np.repeat(np.arange(len(slopes)), 2), np.tile([0.0, 1.0], len(slopes))
    for depth in range(1, len(layers)):
        units = _onwards(layers[:depth], place[:, None] * slopes[row] + layers[0][1])[-1]
        signs = np.sign(units)
        left, unit = np.nonzero((signs[:-1] * signs[1:] < 0) & (row[:-1] == row[1:])[:, None])
        before, after = units[left, unit], units[left + 1, unit]
        found = place[left] + (place[left + 1] - place[left]) * (before / (before - after))
        row, place = np.concatenate([row, row[left]]), np.concatenate([place, found])
        order = np.lexsort((place, row))
        row, place = row[order], place[order]
    return row, place


def _onwards(layers: Layers, first: Floats) -> list[Floats]:
    """What each of these layers gives, before any ReLU, when the first one gives that."""
    units = [first]
    for weight, bias in layers[1:]:
        units.append(np.maximum(units[-1], 0) @ weight.T + bias)
    return units


def _gradients(layers: Layers, first: Floats) -> Floats:
    """(rows, units): the logit's derivative by what the first layer gives, before its ReLU."""
    gradients = np.ones((len(first), 1))
    units = _onwards(layers[:-1], first)
    for (weight, _), before in zip(reversed(layers[1:]), reversed(units), strict=False):  # of one layer there is none
        gradients = (gradients @ weight) * (before > 0)
    return gradients
