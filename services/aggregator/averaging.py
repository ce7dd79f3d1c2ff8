"""Weighted FedAvg (McMahan et al. 2017) over integers: one exact sum, one division, one server step. Pure, but
that the step writes over the average that it is given."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedfraud.fixed_point import WEIGHT_CAP, Words
from fedfraud.model import RunState, Vector
from fedfraud.recipe import Recipe
from fedfraud.standardise_codec import StandardiseSum
from fedfraud.v1 import model_pb2


@dataclass(frozen=True)
class Model:
    """The model between two rounds: (parameters,) float32, and its name. The next model is written over its memory: it
    lies on disk, and so does the server's momentum."""

    vector: Vector
    run_state: RunState
    reference: model_pb2.ModelReference


def exact_sum(contributions: Iterable[Words], word_count: int) -> Words:
    """The sum modulo 2**64 of (word_count,) vectors, the same bits in any order; constant memory."""
    total = np.zeros(word_count, np.uint64)
    for words in contributions:
        total += words
    return total


def run_state(opened: StandardiseSum, recipe: Recipe, counters_sha256: bytes = b"") -> RunState:
    """The run state from the standardise sum, of features that followed from these counters if from any.

    The scale gives a bank that held all rows the largest weight, so that no bank of the cohort is cut at the cap.
    """
    means, deviations = tuple(opened.means.tolist()), tuple(opened.deviations.tolist())
    return rescaled(RunState(means, deviations, opened.row_count, opened.fraud_count, 1.0, counters_sha256), recipe)


def rescaled(state: RunState, recipe: Recipe) -> RunState:
    """The same sums under another recipe's weights."""
    pooled = recipe.weight_rule.measure(state.fraud_count, state.row_count)
    return replace(state, weight_scale=WEIGHT_CAP / pooled if pooled > 0 else 1.0)


def server_step(
    vector: Vector, velocity: NDArray[np.float64], average: NDArray[np.float64], momentum: float
) -> tuple[Vector, NDArray[np.float64]]:
    """The next model (parameters,) float32 and velocity float64: v' = momentum v + average, x' = x + v'. The memory of
    `average` is written over."""
    velocity = momentum * velocity
    velocity += average  # in place: fresh memory takes longer than to add
    return np.add(vector, velocity, out=average).astype(np.float32), velocity
