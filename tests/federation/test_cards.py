"""Banks with payments, as real processes: counters are summed first, and features follow from them."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedfraud.feature_plan import PLANS
from fedfraud.fixed_point import CountCodec, from_bytes
from fedfraud.v1 import history_pb2, model_pb2
from services.aggregator.vectors import Vectors
from services.aggregator.verify import verify
from services.bank_client import kept_model
from simulation.cards import World, shard
from tests.federation.networks import FINISHED, Network, network
from tests.federation.waiting import wait_for

BANKS = (1, 2, 3, 4)
BUDGETS = (5, 15, 40)
PLAN = PLANS["cards"]
COUNT = model_pb2.SEGMENT_KIND_COUNT


def cards(**settings: object) -> dict[str, object]:
    """Four banks' settings: regional customers, one training round."""
    base: dict[str, object] = {"population": "cards", "preset": "regional", "expected_banks": 4, "rounds": 1}
    terms: dict[str, object] = {"alert_budgets": ",".join(map(str, BUDGETS)), "headline_budget": 15, "admin_cents": 300}
    return {**base, **terms, "autostart": True, "stage_deadline": 60.0, "round_deadline": 120.0, **settings}


def counted(present: Network) -> history_pb2.RoundCommitted:
    """The count round, once it is committed."""
    found: history_pb2.RoundCommitted = present.wait(
        "round_committed", lambda event: COUNT in event.segments, "that counts", seconds=180.0
    )
    return found


@pytest.mark.timeout(300)  # two runs of four banks, one with central
def test_counters_are_the_sum_of_the_banks_payments_and_every_mode_gives_one_model(tmp_path: Path) -> None:
    models, trades = {}, {}
    for mode in ("secure", "plain"):
        with network(tmp_path / mode, **cards(aggregation=mode, central_wait=120.0)) as present:
            if mode == "plain":
                present.announce_central()
                present.start_central()
            present.start_aggregator()
            for number in BANKS:
                present.start_bank(number, aggregation=mode, personalise=mode == "secure")
            present.start_reporter(tmp_path / mode / "reports")
            committed = counted(present)
            if mode == "secure":  # the one round that no bank could answer twice with other banks
                present.kill_aggregator()
                present.start_aggregator()
            finished = present.run_ended()
            assert finished.outcome == FINISHED
            models[mode] = finished.model_sha256.hex()
            path = Vectors(tmp_path / mode / "aggregator" / "vectors").counters(committed.sum_sha256)
            assert not committed.HasField("model")
            assert_counters(path)
            facts_file = tmp_path / mode / "reports" / finished.run_id / "facts.json"
            wait_for(facts_file.exists, "the facts")
            facts = json.loads(facts_file.read_text())
            assert [done["segments"] for done in facts["rounds"]][:2] == [["count"], ["standardise"]]
            assert facts["final"]["holdout"] is None
            assert facts["final"]["pooled"]["fraud_count"] > 0
            trades[mode] = facts["final"]["trade"]
            assert facts["final"]["recalibration"]["pooled_log_loss"] <= facts["final"]["pooled"]["log_loss"]
            assert_own_figures(tmp_path / mode, trades[mode])
            assert_alone(tmp_path / mode)
            assert (facts["final"]["central_trade"] is not None) == (mode == "plain")
            if mode == "plain":
                assert facts["final"]["central_trade"]["total"] == trades[mode]["total"]
            if mode == "secure":
                assert_fine_tuned(tmp_path / mode, models[mode])
            present.stop()
            verified = verify(tmp_path / mode / "aggregator", None)
            assert verified.faults == []
            assert verified.rounds[0].model == "counters"
    assert models["secure"] == models["plain"]
    assert trades["secure"] == trades["plain"]
    assert_trade(trades["plain"])


def assert_counters(path: Path) -> None:
    """Against the population itself: all payments of four slots before the test, by day and in all."""
    counters = CountCodec(PLAN.bucket_count, PLAN.counted_days).decode(from_bytes(path.read_bytes()))
    transactions, frauds = np.zeros((2, PLAN.counted_days), np.int64)
    merchants = set()
    for number in BANKS:
        paid = shard(World(seed=7, day_count=PLAN.day_count, first_day=PLAN.first_day), "regional", number)
        day = paid.seconds // 86_400
        before = day < PLAN.counted_days
        transactions += np.bincount(day[before], minlength=PLAN.counted_days)
        frauds += np.bincount(day[before & paid.fraud], minlength=PLAN.counted_days)
        merchants |= set(paid.terminal[before].tolist())
    assert np.array_equal(counters[..., 0].sum(axis=0), transactions)
    assert np.array_equal(counters[..., 1].sum(axis=0), frauds)
    used = np.count_nonzero(counters[..., 0].sum(axis=1))
    assert 0.8 * len(merchants) < used <= len(merchants)  # some share a bucket


def assert_trade(trade: dict[str, Any]) -> None:
    """The final round's figures: four banks' budgets, days that are the population's, and intervals."""
    assert (trade["headline_budget"], trade["admin_euro"]) == (15, 3.0)
    assert [day["day"] for day in trade["days"]] == list(range(1, PLAN.test_days + 1))
    assert [budget["alerts"] for budget in trade["budgets"]] == [
        len(BANKS) * PLAN.test_days * budget for budget in BUDGETS
    ]
    paid = [shard(World(seed=7, day_count=PLAN.day_count, first_day=PLAN.first_day), "regional", n) for n in BANKS]
    for number, day in enumerate(trade["days"]):
        of_day = [(one, one.seconds // 86_400 == PLAN.test_start + number) for one in paid]
        # Cards that are known as compromised are left out, about one in ten.
        assert 0.8 * sum(np.count_nonzero(on) for _, on in of_day) < day["payments"]
        assert day["payments"] < sum(np.count_nonzero(on) for _, on in of_day)
        assert 0 < day["frauds"] <= sum(np.count_nonzero(on & one.fraud) for one, on in of_day)
    figures = {**trade["headline"], "average_precision": trade["rank"]["average_precision"]}
    for name, figure in figures.items():
        assert figure["low"] <= figure["value"] <= figure["high"], name
        assert figure["low"] < figure["high"], name


def assert_own_figures(folder: Path, trade: dict[str, Any]) -> None:
    """Each bank has its own on its own volume; they add up to what all banks have together."""
    own = [json.loads((folder / f"bank-{number:02}" / "trade.json").read_text()) for number in BANKS]
    assert sum(bank["payments"] for bank in own) == trade["total"]["payments"]
    assert sum(bank["frauds"] for bank in own) == trade["total"]["frauds"]
    for bank in own:
        assert 0 < bank["threshold"]["alerts_a_day"] <= bank["alert_budget"] == 10
        assert bank["admin_cents"] == 300
        assert bank["calibration"]["fitted_payments"] + bank["calibration"]["payments"] == bank["payments"]


def assert_alone(folder: Path) -> None:
    """When the run is over each bank has itself without the federation beside it, in the same terms."""
    for number in BANKS:
        path = folder / f"bank-{number:02}" / "trade.json"
        wait_for(partial(told_alone, path), "the figures alone")
        own = json.loads(path.read_text())
        assert own["alone"].keys() == own["figures"].keys()


def told_alone(path: Path) -> bool:
    return json.loads(path.read_text())["alone"] is not None


def assert_fine_tuned(folder: Path, model: str) -> None:
    """Each bank compared the run's final model with its own on its own volume, and with the same rows as the others."""
    for number in BANKS:
        path = folder / f"bank-{number:02}"
        wait_for((path / "personal.json").exists, "what fine-tuning gains")
        told, own = (json.loads((path / name).read_text()) for name in ("personal.json", "trade.json"))
        assert told["model_sha256"] == model != told["personal_sha256"]
        assert told["chosen_on"]["rows"] + told["measured_on"]["rows"] == own["payments"]
        assert told["kept"] == (told["chosen_on"]["personal"] > told["chosen_on"]["federated"])
        scoring = told["personal_sha256"] if told["kept"] else model
        assert kept_model.load(path).scoring.model_sha256.hex() == scoring


def test_a_bank_that_counts_other_days_does_not_join_and_says_which(tmp_path: Path) -> None:
    with network(tmp_path, **cards(autostart=False)) as present:
        present.start_aggregator()
        present.start_bank(1, first_day="2018-04-02")
        assert present.exit_status("bank-01", 120.0) == 2
        log = present.log_file("bank-01").read_text()
        assert "a feature plan must be the one that this bank knows" in log
        assert "from 2018-04-02, got" in log
        assert "FIRST_DAY must be the same at the aggregator and at every bank" in log
