"""Central: equal to a computation written apart from it, better than banks alone, written once, left out when large."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from fedfraud.central import Central, Purpose, read_central
from fedfraud.feature_plan import PLANS
from fedfraud.manifest import Manifest
from fedfraud.recipe import recipe_named
from fedfraud.trade import ALERT_BUDGETS, BudgetField, DayField, TradeTerms
from fedfraud.transactions import TUTORIAL
from services.bank_client import evaluation, write_central
from services.bank_client.dataset import Rows, split
from services.bank_client.examples import Payments
from services.bank_client.training import train_alone
from services.bank_client.write_central import central_figures, examples
from services.bank_client.write_shard import merchant_key, shard_transactions
from simulation import tutorial
from tests.federation.oracle import alone_probabilities

SMALL = Purpose(population="tutorial", seed=7, recipe="default", rounds=2, banks=3)


@pytest.mark.parametrize("recipe", ["default", "tutorial"])
def test_central_is_what_an_independent_computation_gives(recipe: str, tmp_path: Path) -> None:
    purpose = SMALL.model_copy(update={"recipe": recipe})
    write_central.write_central(purpose, tmp_path / "central.json")
    found = read_central(tmp_path / "central.json")
    assert found is not None
    assert (found.purpose, found.scores is not None) == (purpose, True)
    scores = found.scores
    assert scores is not None
    shards = [tutorial.shard(7, slot) for slot in (1, 2, 3)]
    public, labels = tutorial.holdout(7)
    probabilities = alone_probabilities(recipe, 2, 7, "central", shards, public)
    assert (scores.row_count, scores.fraud_count) == (len(labels), labels.sum())
    assert scores.average_precision == pytest.approx(average_precision_score(labels, probabilities), abs=1e-6)
    assert scores.roc_auc == pytest.approx(roc_auc_score(labels, probabilities), abs=1e-6)
    assert scores.log_loss == pytest.approx(log_loss(labels, probabilities), rel=1e-5)


def test_all_rows_in_one_place_beat_the_mean_of_ten_banks_alone() -> None:
    purpose, recipe = SMALL.model_copy(update={"banks": 10}), recipe_named("default")
    manifest = Manifest("tutorial", TUTORIAL)
    found = examples(purpose)
    rows, public = found.training, Rows(*tutorial.holdout(7))
    parts = [split(Rows(*tutorial.shard(7, slot)))[0] for slot in range(1, 11)]
    assert (len(rows), rows.fraud_count) == (sum(map(len, parts)), sum(part.fraud_count for part in parts))
    alone = []
    for number, part in enumerate(parts, start=1):
        state, vector = train_alone(manifest, recipe, 4, part, 7, f"bank-{number:02d}")
        alone.append(evaluation.average_precision(manifest, recipe, state, vector, public) or 0.0)
    scores, trade = central_figures(purpose, found)
    assert scores.average_precision is not None
    assert scores.average_precision > np.mean(alone) + 0.1
    assert trade is None  # rows of a table have neither day nor card


def test_what_is_known_is_not_computed_again_and_what_is_of_another_run_is(tmp_path: Path) -> None:
    path = tmp_path / "central.json"
    write_central.write_central(of_one_bank(1), path)
    first = path.read_bytes()
    path.touch()
    before = path.stat().st_mtime_ns
    write_central.write_central(of_one_bank(1), path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (first, before)
    write_central.write_central(of_one_bank(2), path)
    found = read_central(path)
    assert found is not None
    assert found.purpose.rounds == 2


def test_too_much_work_is_left_out_and_takes_away_what_was_of_another_run(tmp_path: Path) -> None:
    path = tmp_path / "central.json"
    Central(purpose=of_one_bank(1)).write(path)
    write_central.write_central(of_one_bank(1000), path)
    assert not path.exists()


def test_payments_in_one_place_have_the_counters_of_all_banks_and_are_scored_on_all_validation_rows() -> None:
    purpose = Purpose(population="cards", preset="skewed", seed=7, recipe="cards", rounds=1, banks=2)
    found = examples(purpose)
    banks = [Payments(shard_transactions(7, "skewed", slot), PLANS["cards"], merchant_key(7)) for slot in (1, 2)]
    counters = banks[0].counts() + banks[1].counts()
    for bank in banks:
        bank.learn(bytes(32), counters)
    for part in ("training", "validation"):
        together = np.concatenate([getattr(bank.under(bytes(32)), part).features for bank in banks])
        assert np.array_equal(getattr(found, part).features, together)
    alone = np.concatenate([bank.alone().training.features for bank in banks])
    assert not np.array_equal(found.training.features, alone)
    scores, trade = central_figures(purpose, found)
    assert scores.row_count == len(found.validation)
    assert (scores.average_precision or 0) > 5 * scores.fraud_count / scores.row_count
    assert trade is not None
    payments, frauds = (trade.counts.days[:, field].sum() for field in (DayField.PAYMENTS, DayField.FRAUDS))
    assert (payments, frauds) == (scores.row_count, scores.fraud_count)
    alerts = trade.counts.budgets[:, :, BudgetField.ALERTS].sum(axis=0)
    assert alerts.tolist() == [2 * 7 * budget for budget in ALERT_BUDGETS]  # each bank with its own
    assert trade.rank.average_precision == pytest.approx(scores.average_precision, abs=0.002)
    assert trade.budget_low.savings < trade.budget.savings < trade.budget_high.savings  # type: ignore[operator]  # all known


def test_payments_in_one_place_are_of_the_runs_own_days_and_counted_in_its_terms() -> None:
    terms = TradeTerms((5, 15), 15, 1000)
    known = {"population": "cards", "preset": "skewed", "seed": 7, "recipe": "cards", "rounds": 1, "banks": 1}
    purpose = Purpose.of(**known, first_day="2018-03-25", terms=terms)  # type: ignore[arg-type]  # of the fields' kinds
    found = examples(purpose)
    plan = replace(PLANS["cards"], first_day="2018-03-25")
    bank = Payments(shard_transactions(7, "skewed", 1), plan, merchant_key(7))
    bank.learn(bytes(32), bank.counts())
    assert np.array_equal(found.validation.features, bank.under(bytes(32)).validation.features)
    _, trade = central_figures(purpose, found)
    assert trade is not None
    assert trade.counts.budgets[:, :, BudgetField.ALERTS].sum(axis=0).tolist() == [7 * 5, 7 * 15]
    assert (trade.budgets, trade.headline_budget, trade.admin_cents) == ((5, 15), 15, 1000)


def test_a_training_that_fails_leaves_nothing_to_wait_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "central.json", []

    def fails(*_: object) -> None:
        seen.append(read_central(path))
        raise torch.OutOfMemoryError

    monkeypatch.setattr(write_central, "central_figures", fails)
    with pytest.raises(torch.OutOfMemoryError):
        write_central.write_central(SMALL, path)
    assert seen == [Central(purpose=SMALL)]  # while it trained, the file said so
    assert not path.exists()


def of_one_bank(rounds: int) -> Purpose:
    return SMALL.model_copy(update={"rounds": rounds, "banks": 1})
