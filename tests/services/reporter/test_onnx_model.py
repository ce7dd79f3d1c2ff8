"""The ONNX graph gives what the bank's own torch model gives, from raw features."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import simulation.tutorial
from fedfraud.manifest import Manifest
from fedfraud.model import RunState, initial_vector, prior_log_odds
from fedfraud.recipe import recipe_named
from fedfraud.standardise_codec import StandardiseCodec
from fedfraud.transactions import TUTORIAL
from services.bank_client.dataset import Rows
from services.bank_client.network import FraudNet
from services.bank_client.training import Trainer
from services.reporter.onnx_model import to_onnx
from tests.services.reporter.models import FINAL, another

SEED = 7


def session(graph: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("logit_adjustment", [True, False])
def test_the_graph_scores_the_holdout_as_the_banks_torch_model_does(logit_adjustment: bool) -> None:
    manifest, training = Manifest("tutorial", TUTORIAL), Rows(*simulation.tutorial.shard(SEED, 1))
    codec = StandardiseCodec(tuple(feature.resolution for feature in TUTORIAL))
    sums = codec.decode(codec.encode(training.features, training.labels))
    state = RunState(tuple(sums.means.tolist()), tuple(sums.deviations.tolist()), sums.row_count, sums.fraud_count, 1.0)
    trainer = Trainer(manifest, recipe_named("default"), state, training)
    vector = trainer.train(initial_vector(manifest, SEED), bytes(32))
    features, labels = simulation.tutorial.holdout(SEED)

    network = FraudNet(manifest)
    network.flat.copy_(torch.from_numpy(vector))
    logits = network.forward(torch.from_numpy(state.standardise(features)))
    log_odds = prior_log_odds(sums.fraud_count, sums.row_count) if logit_adjustment else 0.0
    expected = torch.sigmoid(logits + log_odds).numpy()

    graph = to_onnx(manifest, state, vector, logit_adjustment=logit_adjustment)
    (given,) = session(graph).run(["probability"], {"features": features.astype(np.float32)})
    assert given.shape == expected.shape == (12_000,)
    assert np.abs(given - expected).max() < 1e-5
    assert given[labels].mean() > 4 * given[~labels].mean()  # it did learn something that could differ


def test_a_graph_takes_any_number_of_rows_and_names_its_features() -> None:
    graph = to_onnx(FINAL.manifest, FINAL.run_state, FINAL.vector, logit_adjustment=True)
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
    running = session(graph)
    for rows in (0, 1, 5):
        (given,) = running.run(None, {"features": np.zeros((rows, 2), np.float32)})
        assert given.shape == (rows,)
    named = json.loads(running.get_modelmeta().custom_metadata_map["features"])
    assert named == [{"name": "a", "unit": "EUR"}, {"name": "b", "unit": "hours"}]


def test_the_same_model_gives_the_same_bytes_and_another_gives_others() -> None:
    assert FINAL.onnx() == FINAL.onnx() != another().onnx()
