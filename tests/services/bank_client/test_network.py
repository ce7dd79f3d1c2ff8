"""FraudNet: the same model as the flat vector's forward pass in numpy."""

import numpy as np
import pytest
import torch

from fedfraud.manifest import Manifest
from fedfraud.model import initial_vector, logits
from fedfraud.transactions import TUTORIAL, Feature
from services.bank_client.network import FraudNet

MANIFEST = Manifest("tutorial", TUTORIAL)


def loaded(manifest: Manifest, dropout: float = 0.0) -> FraudNet:
    network = FraudNet(manifest, dropout)
    network.flat.copy_(torch.from_numpy(initial_vector(manifest, 7)))
    return network


@pytest.mark.parametrize("feature_count", [1, 30, 47])
def test_torch_and_numpy_agree_for_any_number_of_features(feature_count: int) -> None:
    manifest = Manifest("any", tuple(Feature(f"f{i}", "euro", 0.01) for i in range(feature_count)))
    inputs = np.random.default_rng(1).normal(size=(100, feature_count)).astype(np.float32)
    own = loaded(manifest)(torch.from_numpy(inputs)).detach().numpy()
    assert own == pytest.approx(logits(manifest, initial_vector(manifest, 7), inputs), abs=1e-5)


def test_the_network_is_30_64_32_1_with_4097_parameters() -> None:
    shapes = [tuple(parameter.shape) for parameter in FraudNet(MANIFEST).parameters()]
    assert shapes == [(64, 30), (64,), (32, 64), (32,), (1, 32), (1,)]
    assert sum(parameter.numel() for parameter in FraudNet(MANIFEST).parameters()) == 4097


def test_parameters_and_gradients_are_views_of_two_flat_vectors() -> None:
    network = loaded(MANIFEST)
    network(torch.ones(5, 30)).sum().backward()
    assert torch.equal(torch.cat([p.detach().flatten() for p in network.parameters()]), network.flat)
    gradients = [parameter.grad for parameter in network.parameters()]
    assert torch.equal(torch.cat([g.flatten() for g in gradients if g is not None]), network.gradient)
    assert network.gradient[-1] == 5  # the last bias is added once a row


def test_making_a_network_leaves_torchs_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    loaded(MANIFEST, dropout=0.5)(torch.ones(5, 30), torch.Generator().manual_seed(1))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_dropout_needs_draws_and_keeps_the_mean() -> None:
    network = loaded(MANIFEST, dropout=0.5)
    inputs = torch.ones(20_000, 30)
    plain = network(inputs)
    dropped = network(inputs, torch.Generator().manual_seed(1))
    assert torch.equal(plain, network(inputs))
    assert len(set(plain.tolist())) == 1
    assert len(set(dropped.tolist())) > 1000
    # Far from ReLU's corner the second layer is linear, so that dropout changes no mean.
    network.flat[64 * 30 + 64 + 32 * 64 :][:32] += 100
    mean = float(network(inputs, torch.Generator().manual_seed(1)).detach().mean())
    assert mean == pytest.approx(float(network(inputs).detach()[0]), rel=0.02)
