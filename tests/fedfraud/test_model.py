"""The flat vector against torch: the same layout, the same forward pass; and what its hash covers."""

import hashlib
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fedfraud.errors import Invalid
from fedfraud.manifest import Manifest
from fedfraud.model import (
    RunState,
    calibrated_logits,
    from_bytes,
    initial_vector,
    logits,
    model_sha256,
    named_tensors,
    prior_log_odds,
    to_bytes,
)
from fedfraud.transactions import TUTORIAL, Feature

MANIFEST = Manifest("tutorial", TUTORIAL)
SMALL = Manifest("cards", (Feature("amount", "euro", 0.01),), hidden_sizes=(2,))
STATE = RunState(means=(10.0,), deviations=(2.0,), row_count=98, fraud_count=9, weight_scale=0.5)
VECTOR = np.arange(7, dtype=np.float32)  # 1-2-1: 2 + 2 + 2 + 1


class Stack(torch.nn.Module):
    """The layers of 30-64-32-1 in torch's own terms."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(30, 64), torch.nn.Linear(64, 32), torch.nn.Linear(32, 1)])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = inputs
        for layer in self.layers[:-1]:
            hidden = torch.relu(layer(hidden))
        return self.layers[-1](hidden)[:, 0]  # type: ignore[no-any-return]  # a ModuleList knows no element type


def filled(vector: NDArray[np.float32]) -> Stack:
    stack = Stack()
    torch.nn.utils.vector_to_parameters(torch.from_numpy(vector.copy()), stack.parameters())
    return stack


def test_the_layout_is_that_of_torchs_named_parameters() -> None:
    ours = [(tensor.name, tensor.shape) for tensor in MANIFEST.tensors]
    assert ours == [(name, tuple(parameter.shape)) for name, parameter in Stack().named_parameters()]
    vector = initial_vector(MANIFEST, 7)
    torchs = dict(filled(vector).named_parameters())
    for name, tensor in named_tensors(MANIFEST, vector).items():
        np.testing.assert_array_equal(tensor, torchs[name].detach().numpy())


def test_the_forward_pass_is_torchs() -> None:
    vector = initial_vector(MANIFEST, 7) * 3
    inputs = np.random.default_rng(7).normal(size=(200, 30)).astype(np.float32)
    with torch.no_grad():
        expected = filled(vector)(torch.from_numpy(inputs)).numpy()
    assert expected.std() > 0.1
    np.testing.assert_allclose(logits(MANIFEST, vector, inputs), expected, atol=1e-5)


def test_a_model_of_three_numbers_can_be_checked_in_the_head() -> None:
    # hidden = relu(x * [0, 1] + [2, 3]); logit = hidden . [4, 5] + 6
    inputs = np.array([[1.0], [-4.0]], np.float32)
    assert logits(SMALL, VECTOR, inputs).tolist() == [2 * 4 + 4 * 5 + 6, 2 * 4 + 0 * 5 + 6]


def test_seed_7_draws_the_same_initial_vector_for_ever() -> None:
    vector = initial_vector(MANIFEST, 7)
    assert (
        hashlib.sha256(to_bytes(vector)).hexdigest()
        == "1fa3731ebe8316d6beff53b497b2e6e0ebdb0ef0a067e327ef8d4a16fb8ec2de"
    )
    assert (initial_vector(MANIFEST, 8) != vector).any()
    assert vector.dtype == np.float32
    assert vector.shape == (4097,)


def test_initial_weights_fill_1_over_the_root_of_the_fan_in() -> None:
    for tensor in MANIFEST.tensors:
        values = named_tensors(MANIFEST, initial_vector(MANIFEST, 7))[tensor.name]
        bound = 1 / tensor.fan_in**0.5
        assert np.abs(values).max() <= bound
        if tensor.size > 1000:
            assert np.abs(values).max() > 0.99 * bound
            assert abs(values.mean()) < 0.1 * bound


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(Invalid, match=r"^a seed must be at least 0, got -1$"):
        initial_vector(MANIFEST, -1)


def test_the_model_hash_is_sha_256_of_manifest_run_state_and_vector() -> None:
    by_hand = SMALL.canonical_json() + struct.pack("<ddqqd", 10.0, 2.0, 98, 9, 0.5) + struct.pack("<7f", *range(7))
    assert model_sha256(SMALL, STATE, VECTOR) == hashlib.sha256(by_hand).digest()


def test_the_model_hash_changes_with_each_part_and_with_nothing_else() -> None:
    nudged = VECTOR.copy()
    nudged[6] = np.nextafter(np.float32(6), np.float32(7))
    variants = [
        (SMALL, STATE, VECTOR),
        (replace(SMALL, population="other"), STATE, VECTOR),
        (replace(SMALL, features=(Feature("amount", "cent", 0.01),)), STATE, VECTOR),
        (SMALL, replace(STATE, means=(11.0,)), VECTOR),
        (SMALL, replace(STATE, deviations=(3.0,)), VECTOR),
        (SMALL, replace(STATE, row_count=99), VECTOR),
        (SMALL, replace(STATE, fraud_count=8), VECTOR),
        (SMALL, replace(STATE, weight_scale=0.25), VECTOR),
        (SMALL, replace(STATE, counters_sha256=bytes(32)), VECTOR),
        (SMALL, STATE, nudged),
    ]
    hashes = [model_sha256(*variant) for variant in variants]
    assert len(set(hashes)) == len(variants)
    assert hashes == [model_sha256(*variant) for variant in variants]
    assert model_sha256(SMALL, STATE, VECTOR.astype(">f4")) == hashes[0]  # the machine's byte order is no part of it


def test_a_vector_crosses_the_wire_as_little_endian_float32() -> None:
    assert to_bytes(np.array([1.0, -2.0], np.float32)) == struct.pack("<2f", 1.0, -2.0)
    assert from_bytes(to_bytes(VECTOR), SMALL).tolist() == VECTOR.tolist()


def test_a_vector_of_the_wrong_length_or_not_finite_is_refused() -> None:
    with pytest.raises(Invalid, match=r"^a model vector must have 28 bytes, got 27$"):
        from_bytes(to_bytes(VECTOR)[:-1], SMALL)
    broken = VECTOR.copy()
    broken[[1, 2]] = np.nan, np.inf
    with pytest.raises(Invalid, match=r"^a model must be finite, got 2 NaN or infinite coordinates$"):
        from_bytes(to_bytes(broken), SMALL)


def test_many_features_are_standardised_in_blocks_to_the_same_bits() -> None:
    features = np.random.default_rng(1).normal(size=(150_000, 2))
    state = RunState((0.1, 2.0), (3.0, 0.7), 10, 1, 1.0)
    whole = ((features - np.array([0.1, 2.0])) / np.array([3.0, 0.7])).astype(np.float32)
    assert state.standardise(features).tobytes() == whole.tobytes()


def test_features_are_standardised_with_the_run_state() -> None:
    scaled = STATE.standardise(np.array([[10.0], [14.0]]))
    assert scaled.dtype == np.float32
    assert scaled.tolist() == [[0.0], [2.0]]


def test_the_pooled_log_odds_are_added_only_after_logit_adjustment() -> None:
    assert STATE.log_odds == pytest.approx(np.log(0.1 / 0.9))  # (9 + 1) / (98 + 2)
    features = np.array([[10.0], [12.0]])
    plain, adjusted = (
        calibrated_logits(SMALL, STATE, VECTOR, features, logit_adjustment=adjustment) for adjustment in (False, True)
    )
    assert plain.tolist() == logits(SMALL, VECTOR, np.array([[0.0], [1.0]], np.float32)).tolist()
    np.testing.assert_allclose(adjusted - plain, np.log(1 / 9), rtol=1e-5)


def test_the_prior_is_defined_without_frauds_and_without_rows() -> None:
    assert prior_log_odds(0, 0) == 0.0
    assert prior_log_odds(0, 8) == pytest.approx(np.log(1 / 9))
    assert prior_log_odds(8, 8) == pytest.approx(np.log(9))
