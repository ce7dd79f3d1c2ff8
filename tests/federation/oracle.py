"""The model's SHA-256 by a plain single-process computation, written apart from the services and from fedfraud's code.

Of the project it uses the population and the recipes' numbers alone; layouts, bytes and roundings are those that the
docstrings promise. Averages are exact, in Python's integers, and the optimiser is torch's own.
"""

import hashlib
import json
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import log, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fedfraud.recipe import Recipe, recipe_named
from simulation import tutorial

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Vector = NDArray[np.float32]
Rows = tuple[Floats, Bools]
"""A bank's features (rows, 30) and labels (rows,), those for validation too."""

SIZES = (30, 64, 32, 1)
RESOLUTION = 2**20  # values are rounded to multiples of 2**-20


def model_sha256(recipe_name: str, rounds: int, banks: int, seed: int) -> str:
    """In hex: banks 1 to `banks` in the seats bank-01 …, every bank in every round."""
    rows = {f"bank-{number:02d}": tutorial.shard(seed, number) for number in range(1, banks + 1)}
    return replayed_sha256(recipe_name, seed, rows, [list(rows)] * (rounds + 1))


def replayed_sha256(recipe_name: str, seed: int, rows: Mapping[str, Rows], cohorts: Sequence[Collection[str]]) -> str:
    """In hex: `rows` are each seat's, `cohorts` the seats whose contributions the preparing round added, then those of
    each training round."""
    torch.set_num_threads(1)  # the bits depend on it
    recipe = recipe_named(recipe_name)
    shards = {seat: _training_rows(*held) for seat, held in rows.items()}
    prepared = [shards[seat] for seat in cohorts[0]]
    means, deviations = _scaler([features for features, _ in prepared])
    pooled, frauds = sum(len(labels) for _, labels in prepared), sum(int(labels.sum()) for _, labels in prepared)
    scale = 2**20 / _measure(recipe, frauds, pooled)
    state = struct.pack("<60d", *means, *deviations) + struct.pack("<2qd", pooled, frauds, scale)
    inputs = {seat: ((features - means) / deviations).astype(np.float32) for seat, (features, _) in shards.items()}
    measured = {seat: _measure(recipe, int(y.sum()), len(y)) for seat, (_, y) in shards.items()}
    weights = {seat: min(max(round(scale * value), 1), 2**20) for seat, value in measured.items()}
    vector, velocity = _initial_vector(seed), np.zeros(4097)
    for step, cohort in enumerate(cohorts[1:], start=1):
        model = hashlib.sha256(_manifest() + state + vector.tobytes()).digest()
        total = [0] * 4097
        for seat in cohort:
            tag = b"fedfraud/v1/training seed" + struct.pack("<q", seed) + seat.encode()
            digest = hashlib.sha256(tag + struct.pack("<i", step) + model).digest()
            trained = _train(recipe, vector, inputs[seat], shards[seat][1], int.from_bytes(digest[:8], "little"))
            clipped = [min(max(u, -recipe.clip), recipe.clip) for u in (trained - vector).tolist()]
            total = [t + weights[seat] * round(u * 2**24) for t, u in zip(total, clipped, strict=True)]
        average = np.array([float(t) for t in total]) / sum(weights[seat] for seat in cohort) / 2**24
        velocity = recipe.momentum * velocity + average
        vector = (vector.astype(np.float64) + velocity).astype(np.float32)
    return hashlib.sha256(_manifest() + state + vector.tobytes()).hexdigest()


def alone_probabilities(
    recipe_name: str, rounds: int, seed: int, seat: str, shards: Sequence[Rows], public: Floats
) -> Floats:
    """(rows,) probabilities of fraud: the training rows of all shards in one place, one optimiser for all epochs."""
    torch.set_num_threads(1)
    recipe = recipe_named(recipe_name)
    parts = [_training_rows(*held) for held in shards]
    features, labels = np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])
    means, deviations = _scaler([features])
    state = struct.pack("<60d", *means, *deviations) + struct.pack("<2qd", len(labels), int(labels.sum()), 1.0)
    vector = _initial_vector(seed)
    model = hashlib.sha256(_manifest() + state + vector.tobytes()).digest()
    tag = b"fedfraud/v1/training seed" + struct.pack("<q", seed) + seat.encode()
    digest = hashlib.sha256(tag + struct.pack("<i", 0) + model).digest()
    longer = replace(recipe, local_epochs=rounds * recipe.local_epochs)
    inputs = ((features - means) / deviations).astype(np.float32)
    trained = _train(longer, vector, inputs, labels, int.from_bytes(digest[:8], "little"))
    layers = [nn.Linear(a, b) for a, b in pairwise(SIZES)]
    nn.utils.vector_to_parameters(torch.tensor(trained), [p for layer in layers for p in (layer.weight, layer.bias)])
    hidden = torch.tensor((public - means) / deviations).float()
    for layer in layers[:-1]:
        hidden = layer(hidden).relu()
    odds = log((labels.sum() + 1) / ((~labels).sum() + 1)) if recipe.logit_adjustment else 0.0
    probabilities: Floats = (layers[-1](hidden).squeeze(1).double() + odds).sigmoid().detach().numpy()
    return probabilities


def _train(recipe: Recipe, vector: Vector, x: Vector, y: Bools, seed: int) -> Vector:
    layers = [nn.Linear(a, b) for a, b in pairwise(SIZES)]
    parameters = [p for layer in layers for p in (layer.weight, layer.bias)]
    nn.utils.vector_to_parameters(torch.tensor(vector), parameters)
    optimiser = torch.optim.Adam(parameters, lr=recipe.learning_rate, foreach=False, fused=False)
    draws = torch.Generator().manual_seed(seed)
    inputs, labels = torch.tensor(x), torch.tensor(y).float()
    odds = log((y.sum() + 1) / ((~y).sum() + 1)) if recipe.logit_adjustment else 0.0
    for _ in range(recipe.local_epochs):
        order = torch.randperm(len(y), generator=draws)
        for start in range(0, len(y), recipe.batch_size):
            batch = order[start : start + recipe.batch_size]
            hidden = inputs[batch]
            for layer in layers[:-1]:
                hidden = layer(hidden).relu()
                if recipe.dropout:
                    kept = torch.rand(hidden.shape, generator=draws) >= recipe.dropout
                    hidden = hidden * kept / (1 - recipe.dropout)
            logits = layers[-1](hidden).squeeze(1) + odds
            optimiser.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(logits, labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own gap
            optimiser.step()
    return nn.utils.parameters_to_vector(parameters).detach().numpy()


def _training_rows(features: Floats, labels: Bools) -> Rows:
    """All but 15 % of each class, at least one of it where it has two rows; PCG64(20150) chooses."""
    draws = np.random.Generator(np.random.PCG64(20_150))
    training = set(range(len(labels)))
    for members in (np.flatnonzero(~labels), np.flatnonzero(labels)):
        shuffled = draws.permutation(members).tolist()
        if len(shuffled) > 1:
            training -= set(shuffled[: max(1, round(0.15 * len(shuffled)))])
    kept = sorted(training)
    return features[kept], labels[kept]


def _scaler(banks: list[Floats]) -> tuple[list[float], list[float]]:
    means, deviations = [], []
    for column in np.rint(np.concatenate(banks) * RESOLUTION).astype(object).T:
        whole = [int(value) for value in column]
        mean = Fraction(sum(whole), len(whole))
        variance = Fraction(sum(value * value for value in whole), len(whole)) - mean * mean
        means.append(float(mean) / RESOLUTION)
        deviations.append(sqrt(float(variance)) / RESOLUTION)
    return means, deviations


def _measure(recipe: Recipe, frauds: int, rows: int) -> float:
    """The recipe's weight rule, by its name."""
    rules = {"rows": rows, "harmonic": 2.0 * frauds * (rows - frauds) / rows, "sqrt_fraud": frauds**0.5}
    return float(rules[recipe.weight_rule.value])


def _initial_vector(seed: int) -> Vector:
    draws = np.random.Generator(np.random.PCG64(seed))
    parts = [draws.uniform(-1, 1, n) / np.sqrt(a) for a, b in pairwise(SIZES) for n in (a * b, b)]
    return np.concatenate(parts).astype("<f4")


def _manifest() -> bytes:
    features = [{"name": f"feature_{i:02d}", "resolution": 2**-20, "unit": "standard score"} for i in range(1, 31)]
    manifest = {"features": features, "hidden_sizes": [64, 32], "population": "tutorial", "version": 1}
    return json.dumps(manifest, separators=(",", ":")).encode()
