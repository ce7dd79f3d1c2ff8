"""A bank's training: the same bits for the same seed, torch's own Adam, and a stop between two batches."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fedfraud.manifest import Manifest
from fedfraud.metrics import scores_from_logits
from fedfraud.model import RunState, Vector, initial_vector, logits
from fedfraud.recipe import Recipe, WeightRule, recipe_named
from fedfraud.transactions import Feature
from services.bank_client import training
from services.bank_client.dataset import Rows
from services.bank_client.seeds import training_seed
from services.bank_client.training import Cancelled, Trainer, train_alone, weight

MANIFEST = Manifest("two", (Feature("a", "euro", 2.0**-20), Feature("b", "euro", 2.0**-20)), (8, 4))
STATE = RunState((0.0, 0.0), (1.0, 1.0), 1000, 100, 1.0)
PLAIN = recipe_named("tutorial")
DEFAULT = recipe_named("default")
SEED = bytes(range(32))


def rows(count: int = 1000, share: float = 0.1) -> Rows:
    """Frauds lie around (2, 2), the rest around (0, 0)."""
    draws = np.random.default_rng(count)
    labels = np.arange(count) < share * count
    return Rows(draws.normal(size=(count, 2)) + 2 * labels[:, None], labels)


def trained(recipe_name: str = "default", seed: bytes = SEED, data: Rows | None = None) -> Vector:
    trainer = Trainer(MANIFEST, recipe_named(recipe_name), STATE, data or rows())
    return trainer.train(initial_vector(MANIFEST, 7), seed)


@pytest.mark.parametrize("recipe_name", ["default", "tutorial"])
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(recipe_name: str) -> None:
    assert trained(recipe_name).tobytes() == trained(recipe_name).tobytes()
    assert trained(recipe_name).tobytes() != trained(recipe_name, bytes(32)).tobytes()


def test_several_banks_in_one_process_do_not_disturb_each_other() -> None:
    first, second = (Trainer(MANIFEST, PLAIN, STATE, rows(n)) for n in (1000, 500))
    start = initial_vector(MANIFEST, 7)
    alone = first.train(start, SEED)

    def meanwhile() -> bool:
        torch.rand(3)
        second.train(start, SEED)
        return False

    assert first.train(start, SEED, meanwhile).tobytes() == alone.tobytes()


def test_dropout_of_a_wide_model_is_drawn_for_no_more_rows_than_memory_is_for() -> None:
    wide, recipe = replace(MANIFEST, hidden_sizes=(3_000, 2)), Recipe("r", 0.01, 128, dropout=0.1)
    trainer = Trainer(wide, recipe, STATE, rows(8_192))
    groups = trainer._groups(1, torch.Generator().manual_seed(1))
    assert max(group[0][2][0].untyped_storage().nbytes() for group in groups) <= 4 << 20


def test_training_reads_its_start_and_returns_something_new() -> None:
    start = initial_vector(MANIFEST, 7)
    start.flags.writeable = False
    trainer = Trainer(MANIFEST, PLAIN, STATE, rows())
    first = trainer.train(start, SEED)
    kept = first.copy()
    second = trainer.train(first, SEED)
    assert np.array_equal(first, kept)
    assert not np.array_equal(first, second)
    assert first.dtype == np.float32


def test_training_learns() -> None:
    data, fresh = rows(), rows(2000)
    vector = Trainer(MANIFEST, DEFAULT, STATE, data).train(initial_vector(MANIFEST, 7), SEED, epochs=30)
    auc = scores_from_logits(logits(MANIFEST, vector, STATE.standardise(fresh.features)), fresh.labels).roc_auc
    assert auc is not None
    assert auc > 0.95


@pytest.mark.parametrize(("batch_size", "steps"), [(1000, 1), (100, 10), (300, 4)])
def test_an_epoch_passes_over_every_row_once(batch_size: int, steps: int) -> None:
    batches = 0

    def count() -> bool:
        nonlocal batches
        batches += 1
        return False

    recipe = replace(PLAIN, batch_size=batch_size)
    Trainer(MANIFEST, recipe, STATE, rows()).train(initial_vector(MANIFEST, 7), SEED, count)
    assert batches == steps


def test_one_full_batch_is_one_step_of_torchs_own_adam() -> None:
    data = rows()
    recipe = replace(PLAIN, batch_size=1000, dropout=0.0, local_epochs=3)
    network = torch.nn.Sequential(
        torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1)
    )
    torch.nn.utils.vector_to_parameters(torch.from_numpy(initial_vector(MANIFEST, 7)), network.parameters())
    adam = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate, foreach=False)
    inputs, labels = torch.from_numpy(data.features).float(), torch.from_numpy(data.labels).float()
    for _ in range(3):
        adam.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(inputs).squeeze(1), labels)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own gap
        adam.step()
    own = Trainer(MANIFEST, recipe, STATE, data).train(initial_vector(MANIFEST, 7), SEED)
    expected = torch.nn.utils.parameters_to_vector(network.parameters()).detach().numpy()
    assert own == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("recipe", [PLAIN, DEFAULT], ids=lambda recipe: recipe.name)
def test_how_many_rows_are_gathered_at_once_changes_no_bit(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn_ahead = []

    def ahead(groups: Iterator[Any]) -> Iterator[Any]:
        drawn_ahead.append(groups)
        return originally(groups)

    originally, start, found = training._ahead, initial_vector(MANIFEST, 7), set()
    monkeypatch.setattr(training, "_ahead", ahead)
    for gathered in (8_192, 1, 1000, 2048):
        monkeypatch.setattr(training, "_GATHERED_ROWS", gathered)
        found.add(Trainer(MANIFEST, recipe, STATE, rows(3000)).train(start, SEED, epochs=3).tobytes())
    assert len(found) == 1
    assert len(drawn_ahead) == 3  # all but those that are one group


def test_with_logit_adjustment_a_model_learns_no_prior() -> None:
    """With nothing to tell the classes apart the logit stays near 0, whatever share of the rows is fraud."""
    for share in (0.9, 0.1):
        labels = np.arange(1000) < share * 1000
        data = Rows(np.zeros((1000, 2)), labels)
        for recipe, expected in (
            (DEFAULT, 0.0),
            (replace(DEFAULT, logit_adjustment=False), np.log(share / (1 - share))),
        ):
            vector = Trainer(MANIFEST, recipe, STATE, data).train(initial_vector(MANIFEST, 7), SEED, epochs=100)
            assert logits(MANIFEST, vector, np.zeros((1, 2), np.float32))[0] == pytest.approx(expected, abs=0.35)


@pytest.mark.parametrize("labels", [np.zeros(50, np.bool_), np.ones(50, np.bool_)])
def test_a_bank_of_one_class_trains_to_finite_weights(labels: np.ndarray) -> None:
    assert np.isfinite(trained(data=Rows(rows(50).features, labels))).all()


def test_a_bank_of_one_row_trains() -> None:
    assert np.isfinite(trained(data=rows(1))).all()


def test_training_stops_between_two_batches_when_it_is_cancelled() -> None:
    answers = iter([False, False, True])
    trainer = Trainer(MANIFEST, PLAIN, STATE, rows(10_000))
    with pytest.raises(Cancelled) as kept:
        trainer.train(initial_vector(MANIFEST, 7), SEED, lambda: next(answers))
    assert next(answers, None) is None
    assert kept.tb  # holds all that train() had, as a future's exception does until the collector comes
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("draws")]
    # What the cancelled call left behind changes nothing.
    fresh = Trainer(MANIFEST, PLAIN, STATE, rows(10_000))
    start = initial_vector(MANIFEST, 7)
    assert trainer.train(start, SEED).tobytes() == fresh.train(start, SEED).tobytes()


def test_a_training_seed_is_the_sha256_of_the_documented_bytes() -> None:
    document = b"fedfraud/v1/training seed" + b"\x07" + bytes(7) + b"bank-03" + b"\x02\0\0\0" + b"h" * 32
    assert training_seed(7, "bank-03", 2, b"h" * 32) == hashlib.sha256(document).digest()


def test_run_seat_step_and_model_each_change_the_training_seed() -> None:
    seeds = {
        training_seed(*inputs)
        for inputs in (
            (7, "bank-03", 2, b"h" * 32),
            (8, "bank-03", 2, b"h" * 32),
            (7, "bank-04", 2, b"h" * 32),
            (7, "bank-03", 3, b"h" * 32),
            (7, "bank-03", 2, b"i" * 32),
        )
    }
    assert len(seeds) == 5


def test_a_bank_alone_uses_its_own_scaler_and_prior() -> None:
    data = Rows(rows().features * 100 + 50, rows().labels)
    state, vector = train_alone(MANIFEST, DEFAULT, 30, data, 7, "bank-01")
    assert state.means == pytest.approx(tuple(data.features.mean(axis=0)))
    assert state.deviations == pytest.approx(tuple(data.features.std(axis=0)))
    assert (state.row_count, state.fraud_count) == (1000, 100)
    scores = scores_from_logits(logits(MANIFEST, vector, state.standardise(data.features)), data.labels)
    assert scores.roc_auc is not None
    assert scores.roc_auc > 0.95


def test_a_bank_alone_gets_the_same_bits_again_and_can_be_cancelled() -> None:
    first, again = (train_alone(MANIFEST, DEFAULT, 2, rows(), 7, "bank-01")[1] for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != train_alone(MANIFEST, DEFAULT, 2, rows(), 7, "bank-02")[1].tobytes()
    with pytest.raises(Cancelled):
        train_alone(MANIFEST, DEFAULT, 2, rows(), 7, "bank-01", lambda: True)


@pytest.mark.parametrize(
    ("rule", "scale", "frauds", "expected"),
    [
        (WeightRule.ROWS, 2.0, 100, 2000),
        (WeightRule.SQRT_FRAUD, 10.0, 100, 100),
        (WeightRule.HARMONIC, 1.0, 100, 180),  # 2 * 100 * 900 / 1000
        (WeightRule.SQRT_FRAUD, 10.0, 0, 1),  # a bank without frauds still counts a little
        (WeightRule.ROWS, 1e9, 100, 2**20),
    ],
)
def test_a_weight_is_the_scaled_rule_from_1_to_the_cap(
    rule: WeightRule, scale: float, frauds: int, expected: int
) -> None:
    data = Rows(np.zeros((1000, 2)), np.arange(1000) < frauds)
    assert weight(replace(DEFAULT, weight_rule=rule), replace(STATE, weight_scale=scale), data) == expected
