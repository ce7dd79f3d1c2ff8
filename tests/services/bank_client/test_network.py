"""FraudNet: the same model as the flat vector's forward pass in numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from fedfraud.manifest import Manifest
from fedfraud.model import initial_vector, logits
from fedfraud.transactions import TUTORIAL, Feature
from services.bank_client import network as network_module
from services.bank_client.network import FraudNet

MANIFEST = Manifest("tutorial", TUTORIAL)


def loaded(manifest: Manifest, dropout: float = 0.0) -> FraudNet:
    network = FraudNet(manifest, dropout)
    network.flat.copy_(torch.from_numpy(initial_vector(manifest, 7)))
    return network


def dropped(network: FraudNet, rows: int, seed: int) -> tuple[torch.Tensor, ...]:
    """The dropout of one batch."""
    (batch,) = network.dropouts(rows, rows, torch.Generator().manual_seed(seed))
    return batch


@pytest.mark.parametrize("feature_count", [1, 30, 47])
def test_torch_and_numpy_agree_for_any_number_of_features(feature_count: int) -> None:
    manifest = Manifest("any", tuple(Feature(f"f{i}", "euro", 0.01) for i in range(feature_count)))
    inputs = np.random.default_rng(1).normal(size=(100, feature_count)).astype(np.float32)
    own = loaded(manifest).forward(torch.from_numpy(inputs)).numpy()
    assert own == pytest.approx(logits(manifest, initial_vector(manifest, 7), inputs), abs=1e-5)


def torchs_own(manifest: Manifest, vector: torch.Tensor) -> list[nn.Linear]:
    layers = [nn.Linear(*sizes) for sizes in manifest.layer_sizes]
    nn.utils.vector_to_parameters(vector, [p for layer in layers for p in (layer.weight, layer.bias)])
    return layers


@pytest.mark.parametrize("dropout", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("rows", [1, 2, 3, 128, 256, 333, 512])
def test_logits_and_gradient_have_the_bits_of_torchs_autograd(rows: int, dropout: float) -> None:
    torch.set_num_threads(1)  # the bits depend on it
    network, draws = loaded(MANIFEST, dropout), torch.Generator().manual_seed(5)
    inputs = torch.randn((rows, 30), generator=draws)
    labels = (torch.rand(rows, generator=draws) < 0.2).float()
    layers, hidden = torchs_own(MANIFEST, network.flat), inputs
    masks = torch.Generator().manual_seed(6)
    for layer in layers[:-1]:
        hidden = layer(hidden).relu()
        if dropout:
            hidden = hidden * (torch.rand(hidden.shape, generator=masks) >= dropout) / (1 - dropout)
    expected = layers[-1](hidden).squeeze(1)
    nn.functional.binary_cross_entropy_with_logits(expected, labels).backward()  # type: ignore[no-untyped-call]  # torch's has no types
    own = network.forward(inputs, dropped(network, rows, 6))
    network.backward(torch.sigmoid(own).sub_(labels).div_(rows))
    assert torch.equal(own, expected)
    gradients = [p.grad for layer in layers for p in (layer.weight, layer.bias)]
    assert torch.equal(network.gradient, torch.cat([g.flatten() for g in gradients if g is not None]))


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("features", [5, 17, 30, 32])
def test_the_order_of_a_product_is_turned_where_that_changes_no_bit(
    features: int, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rows of 5 features have other bits the other way round, on AMD at least."""
    if not same:
        monkeypatch.setattr(network_module, "_is_the_same_turned", lambda *sizes: False)
    manifest = Manifest("any", tuple(Feature(f"f{i}", "euro", 0.01) for i in range(features)))
    for rows in (1, 2, 64, 512):
        own, draws = loaded(manifest), torch.Generator().manual_seed(rows)
        inputs, by_logits = torch.randn((rows, features), generator=draws), torch.randn(rows, generator=draws)
        own.forward(inputs)
        own.backward(by_logits)
        hidden = own._seen
        given = by_logits.unsqueeze(1)
        for layer in (2, 1):
            weight, by_weight = own._weights[layer]
            assert torch.equal(by_weight, torch.mm(given.t(), hidden[layer]))
            given = torch.mm(given, weight) * (hidden[layer] > 0)
        assert torch.equal(own._weights[0][1], torch.mm(given.t(), inputs))


def test_dropout_that_is_drawn_for_many_batches_is_what_each_would_draw() -> None:
    network, draws = loaded(MANIFEST, 0.3), torch.Generator().manual_seed(2)
    batches = list(network.dropouts(300, 128, torch.Generator().manual_seed(2)))
    assert [len(batch[0]) for batch in batches] == [128, 128, 44]
    for batch in batches:
        for divisors, width in zip(batch, MANIFEST.hidden_sizes, strict=True):
            kept = torch.rand((len(divisors), width), generator=draws) >= 0.3
            assert torch.equal(divisors, torch.where(kept, torch.tensor(1 - 0.3), torch.inf))


def test_without_dropout_every_batch_has_none() -> None:
    assert list(loaded(MANIFEST).dropouts(300, 128, torch.Generator())) == [(), (), ()]


def test_the_last_biass_gradient_is_added_once_a_row() -> None:
    network = loaded(MANIFEST)
    network.forward(torch.ones(5, 30))
    network.backward(torch.ones(5))
    assert network.gradient[-1] == 5
    assert len(network.gradient) == 4097


def test_making_a_network_leaves_torchs_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    network = loaded(MANIFEST, dropout=0.5)
    network.forward(torch.ones(5, 30), dropped(network, 5, 1))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_dropout_needs_draws_and_keeps_the_mean() -> None:
    network = loaded(MANIFEST, dropout=0.5)
    inputs = torch.ones(20_000, 30)
    plain = network.forward(inputs)
    varied = network.forward(inputs, dropped(network, 20_000, 1))
    assert torch.equal(plain, network.forward(inputs))
    assert len(set(plain.tolist())) == 1
    assert len(set(varied.tolist())) > 1000
    # Far from ReLU's corner the second layer is linear, so that dropout changes no mean.
    network.flat[64 * 30 + 64 + 32 * 64 :][:32] += 100
    mean = float(network.forward(inputs, dropped(network, 20_000, 1)).mean())
    assert mean == pytest.approx(float(network.forward(inputs)[0]), rel=0.02)
