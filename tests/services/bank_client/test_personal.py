"""A bank's own fine-tuning: from explicit seeds, kept by some validation rows, told with the others."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedfraud.manifest import Manifest
from fedfraud.model import RunState, initial_vector, model_sha256
from fedfraud.recipe import Recipe
from fedfraud.transactions import Feature
from services.bank_client import kept_model
from services.bank_client.dataset import Rows
from services.bank_client.kept_model import KeptModel, Variant
from services.bank_client.own_trade import threshold
from services.bank_client.personal import FILE, Compared, Federated, Personal, compared, keep, personalised, tell
from services.bank_client.seeds import personal_seed, training_seed
from services.bank_client.training import Cancelled, Trainer, never

MANIFEST = Manifest("two", (Feature("a", "euro", 2.0**-20), Feature("b", "euro", 2.0**-20)), (4,))
RECIPE = Recipe("r", 0.05, 16, local_epochs=3)
STATE = RunState((0.0, 0.0), (1.0, 1.0), 400, 80, 1000.0)
VECTOR = initial_vector(MANIFEST, 7)
FINAL = Federated(MANIFEST, RECIPE, STATE, VECTOR, model_sha256(MANIFEST, STATE, VECTOR))
EVERY_OTHER = np.arange(400) % 2 == 0


def rows(seed: int, side: float = 3.0) -> Rows:
    """400 rows, every fifth a fraud, which lies so far to the upper right."""
    labels = np.arange(400) % 5 == 0
    return Rows(np.random.default_rng(seed).normal(size=(400, 2)) + side * labels[:, None], labels)


def found(training: Rows, validation: Rows, seat: str = "bank-01") -> Personal:
    return personalised(FINAL, training, validation, EVERY_OTHER, 7, seat, never)


def test_a_model_that_learned_what_the_validation_rows_show_is_kept_and_measured_on_rows_it_was_not_chosen_by() -> None:
    own = found(rows(1), rows(2))
    assert own.kept
    assert (own.chosen_on.rows, own.chosen_on.frauds) == (200, 40)
    assert (own.measured_on.rows, own.measured_on.frauds) == (200, 40)
    assert own.measured_on.personal > own.measured_on.federated  # type: ignore[operator]  # both known
    assert own.sha256 == model_sha256(MANIFEST, STATE, own.vector) != FINAL.sha256


def test_a_model_that_learned_the_contrary_is_not_kept() -> None:
    trained = Trainer(MANIFEST, RECIPE, STATE, rows(3)).train(VECTOR, bytes(32), epochs=20)
    good = replace(FINAL, vector=trained)
    own = personalised(good, rows(1, side=-3.0), rows(2), EVERY_OTHER, 7, "bank-01", never)
    assert own.chosen_on.personal < own.chosen_on.federated  # type: ignore[operator]  # both known
    assert not own.kept


@pytest.mark.parametrize(("federated", "personal"), [(0.5, 0.5), (0.5, 0.4), (None, None), (None, 0.9), (0.5, None)])
def test_no_gain_or_none_that_can_be_told_keeps_the_federated_model(
    federated: float | None, personal: float | None
) -> None:
    chosen, other = Compared(20, 2, federated, personal), Compared(20, 2, 0.1, 0.9)
    assert not Personal(VECTOR, bytes(32), np.zeros(20, np.float32), chosen, other).kept


def test_rows_of_one_class_have_no_average_precision() -> None:
    logits = np.array([0.0, 1.0], np.float32)
    for labels in ([False, False], [True, True]):
        told = compared(logits, logits, np.array(labels))
        assert (told.rows, told.federated, told.personal) == (2, None, None)
    assert compared(logits, -logits, np.array([False, True])) == Compared(2, 1, 1.0, 0.5)


def test_the_same_bank_and_run_give_the_same_bits_and_another_seat_others() -> None:
    assert found(rows(1), rows(2)).sha256 == found(rows(1), rows(2)).sha256
    assert found(rows(1), rows(2)).sha256 != found(rows(1), rows(2), "bank-02").sha256


def test_the_seed_is_none_that_the_federation_sees() -> None:
    seeds = {personal_seed(7, "bank-01", bytes(32)), personal_seed(8, "bank-01", bytes(32))}
    assert len(seeds | {training_seed(7, "bank-01", step, bytes(32)) for step in range(9)}) == 11


def test_one_that_is_to_stop_stops() -> None:
    with pytest.raises(Cancelled):
        personalised(FINAL, rows(1), rows(2), EVERY_OTHER, 7, "bank-01", lambda: True)


def test_the_bank_is_told_what_was_compared_and_chosen(tmp_path: Path) -> None:
    own = found(rows(1), rows(2))
    tell(tmp_path, "run", FINAL, own)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    told = json.loads((tmp_path / FILE).read_text())
    assert (told["run_id"], told["kept"], told["local_epochs"], told["learning_rate"]) == ("run", True, 3, 0.05)
    assert (told["model_sha256"], told["personal_sha256"]) == (FINAL.sha256.hex(), own.sha256.hex())
    assert told["chosen_on"]["personal"] == own.chosen_on.personal
    assert told["measured_on"] == {"rows": 200, "frauds": 40} | {
        name: getattr(own.measured_on, name) for name in ("federated", "personal")
    }


def test_a_disk_that_fails_costs_the_file_and_nothing_else(tmp_path: Path) -> None:
    tell(tmp_path / "none", "run", FINAL, found(rows(1), rows(2)))
    assert not (tmp_path / "none").exists()


def kept(run_id: str = "run", vector: np.ndarray = VECTOR) -> KeptModel:
    """As the final round leaves it."""
    sha256 = model_sha256(MANIFEST, STATE, vector)
    return KeptModel(run_id, MANIFEST, STATE, False, 10, "", (Variant("federated", vector.tobytes(), sha256, None),))


def test_the_kept_model_scores_with_it_under_a_threshold_of_its_own_and_keeps_the_federated_one(tmp_path: Path) -> None:
    own, validation = found(rows(1), rows(2)), rows(2)
    kept_model.keep(tmp_path, kept())
    keep(tmp_path, "run", FINAL, own, validation.labels)
    now = kept_model.load(tmp_path)
    assert [variant.name for variant in now.variants] == ["federated", "personal"]
    assert now.scoring.model_sha256 == own.sha256
    assert now.scoring.threshold == threshold(own.logits, validation.labels, 0.4, 10) is not None
    assert np.array_equal(now.vector, own.vector)
    keep(tmp_path, "run", FINAL, own, validation.labels)
    assert kept_model.load(tmp_path) == now  # and not a third


@pytest.mark.parametrize("there", ["nothing", "another run's", "another model's"])
def test_without_the_runs_own_federated_model_on_disk_none_is_kept_beside_it(tmp_path: Path, there: str) -> None:
    former = kept("other") if there == "another run's" else kept(vector=-VECTOR)
    if there != "nothing":
        kept_model.keep(tmp_path, former)
    keep(tmp_path, "run", FINAL, found(rows(1), rows(2)), rows(2).labels)
    assert (there == "nothing") == (not (tmp_path / kept_model.FILE).exists())
    assert there == "nothing" or kept_model.load(tmp_path) == former


def test_one_that_gains_nothing_leaves_the_kept_model_as_it_is(tmp_path: Path) -> None:
    kept_model.keep(tmp_path, kept())
    own = found(rows(1), rows(2))
    keep(tmp_path, "run", FINAL, replace(own, chosen_on=Compared(200, 40, 0.5, 0.5)), rows(2).labels)
    assert kept_model.load(tmp_path) == kept()
