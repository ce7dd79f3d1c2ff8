"""What a bank answers to each kind of round, from 100 rows of its own."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from fedfraud import fixed_point
from fedfraud.errors import Invalid
from fedfraud.feature_plan import FeaturePlan
from fedfraud.fixed_point import EvaluateCodec, Segment, TrainCodec
from fedfraud.layout import Layout, count_codec
from fedfraud.manifest import Manifest
from fedfraud.model import RunState, initial_vector, model_sha256
from fedfraud.packing import Packing
from fedfraud.recipe import Recipe
from fedfraud.standardise_codec import StandardiseCodec
from fedfraud.trade import DayField
from fedfraud.trade_codec import TradeCodec
from fedfraud.transactions import CARDS, SCHEMAS, Feature
from fedfraud.wire import RoundKey
from services.bank_client import kept_model
from services.bank_client.contribution import Contributor
from services.bank_client.dataset import Rows, write
from services.bank_client.examples import FeatureTable, Payments
from services.bank_client.merchant_key import fingerprint
from services.bank_client.release import Released
from services.bank_client.settings import Settings
from services.bank_client.task import Task
from services.bank_client.training import Cancelled, never
from tests.services.bank_client.payments import at_random

MANIFEST = Manifest("two", (Feature("a", "euro", 2.0**-20), Feature("b", "euro", 2.0**-20)), (4,))
PLAN = FeaturePlan("2018-04-01", bucket_count=64)
PAYMENTS = Manifest("cards", SCHEMAS["cards"], (4,), feature_plan=PLAN)
RECIPE = Recipe("r", 0.01, 16)
STATE = RunState((0.0, 0.0), (1.0, 1.0), 85, 17, 1000.0)
VECTOR = initial_vector(MANIFEST, 7)


def rows(frauds: int) -> Rows:
    draws, labels = np.random.default_rng(7), np.arange(100) < frauds
    return Rows(draws.normal(size=(100, 2)) + 3 * labels[:, None], labels)


def bank(folder: Path, frauds: int = 20, disclose: str = "rows,fraud_rate,alone,federated") -> Contributor:
    """100 rows, of which 15 are for validation; frauds lie to the upper right."""
    write(folder / "holdout.parquet", rows(frauds), MANIFEST.features)
    return Contributor(Settings(data_dir=folder, disclose=disclose), MANIFEST, FeatureTable(rows(frauds)))


def task(
    *segments: Segment,
    final: bool = False,
    seat: str = "bank-01",
    step: int = 1,
    alone_until: float = math.inf,
    number: int = 2,
) -> Task:
    sha256, step = model_sha256(MANIFEST, STATE, VECTOR), 2 if final else step  # after the one round of the run
    return Task(
        RoundKey("run", number, 1), seat, step, segments, RECIPE, 7, 1, final, sha256, STATE, VECTOR, alone_until
    )


def words(released: Released, *segments: Segment, manifest: Manifest = MANIFEST) -> fixed_point.Words:
    """Of a plain contribution."""
    return Packing(Layout(segments, manifest, RECIPE)).unpack(released.data)


def test_the_training_rows_alone_are_summed(tmp_path: Path) -> None:
    asked = Task(
        RoundKey("run", 1, 1), "bank-01", 0, (Segment.STANDARDISE,), RECIPE, 7, 1, False, b"", None, None, math.inf
    )
    released = bank(tmp_path).contribute(asked, never)
    summed = StandardiseCodec((2.0**-20, 2.0**-20)).decode(words(released, Segment.STANDARDISE))
    assert (summed.row_count, summed.fraud_count) == (85, 17)


def test_the_validation_rows_alone_are_scored(tmp_path: Path) -> None:
    released = bank(tmp_path).contribute(task(Segment.EVALUATE), never)
    legitimate, fraud = EvaluateCodec().decode(words(released, Segment.EVALUATE))
    assert (legitimate.sum(), fraud.sum()) == (12, 3)


def test_training_gives_an_update_with_the_banks_weight_and_the_same_bits_again(tmp_path: Path) -> None:
    contributor = bank(tmp_path)
    released = contributor.contribute(task(Segment.TRAIN), never)
    summed = TrainCodec(MANIFEST.parameter_count, RECIPE.clip).decode(words(released, Segment.TRAIN))
    assert summed.weight == 85 * 1000
    assert 0 < np.abs(summed.average).max() < 1
    others = [
        task(Segment.TRAIN, number=3),
        task(Segment.TRAIN, number=4, seat="bank-02"),
        task(Segment.TRAIN, number=5, step=2),
    ]
    hashes = [contributor.contribute(other, never).sha256 for other in others]
    assert len({*hashes, released.sha256}) == 3
    assert hashes[0] == released.sha256  # another round that asks for the same


def test_a_contribution_that_was_made_is_sent_again_and_not_made_again(tmp_path: Path) -> None:
    released = bank(tmp_path).contribute(task(Segment.TRAIN), never)
    again = Contributor(Settings(data_dir=tmp_path), MANIFEST, FeatureTable(rows(20))).contribute(
        task(Segment.TRAIN), lambda: True
    )
    assert again.sha256 == released.sha256  # though whoever trains now is stopped at once
    for other in ({"task_sha256": b"o" * 32}, {"model_sha256": b"o" * 32}, {"retry": 1}):
        with pytest.raises(Cancelled):
            bank(tmp_path).contribute(replace(task(Segment.TRAIN), **other), lambda: True)
    with pytest.raises(Cancelled):
        bank(tmp_path, frauds=21).contribute(task(Segment.TRAIN), lambda: True)  # the rows are others now


def test_what_was_kept_is_no_answer_to_a_round_that_asks_for_another_segment(tmp_path: Path) -> None:
    contributor = bank(tmp_path)
    kept = contributor.contribute(task(Segment.EVALUATE), never)
    assert len(contributor.contribute(task(Segment.TRAIN), never).data) != len(kept.data)


def test_a_round_of_two_segments_is_one_contribution(tmp_path: Path) -> None:
    contributor, segments = bank(tmp_path), (Segment.EVALUATE, Segment.TRAIN)
    released = contributor.contribute(task(*segments), never)
    assert len(words(released, *segments)) == 2 * 8192 + MANIFEST.parameter_count + 2


def test_what_is_to_be_masked_leaves_the_trainer_as_words_and_is_the_same_contribution(tmp_path: Path) -> None:
    contributor, segments = bank(tmp_path), (Segment.EVALUATE, Segment.TRAIN)
    plain = contributor.contribute(task(*segments), never)
    masked = contributor.contribute(replace(task(*segments, number=3), masked=True), never)
    assert fixed_point.from_bytes(masked.data).tolist() == words(plain, *segments).tolist()
    assert len(masked.data) - len(plain.data) == 4 * (2 * 8192 + MANIFEST.parameter_count)
    assert plain.word_count == masked.word_count


def test_a_model_is_needed_to_train_or_evaluate(tmp_path: Path) -> None:
    contributor = bank(tmp_path)
    for segment in (Segment.EVALUATE, Segment.TRAIN):
        asked = Task(RoundKey("run", 2, 1), "bank-01", 1, (segment,), RECIPE, 7, 1, False, b"", None, None, math.inf)
        with pytest.raises(
            Invalid, match=f"^a {segment.value} segment must come with a model and a run state, got none$"
        ):
            contributor.contribute(asked, never)


def test_training_stops_when_its_round_is_over(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        bank(tmp_path).contribute(task(Segment.TRAIN), lambda: True)


def test_rows_and_fraud_rate_are_disclosed_each_round_and_precisions_in_the_last(tmp_path: Path) -> None:
    contributor = bank(tmp_path)
    given = contributor.contribute(task(Segment.EVALUATE), never).disclosure
    assert given is not None
    assert (given.row_count, given.fraud_rate) == (100, 0.2)
    assert given.alone is given.federated is given.alone_holdout is given.federated_holdout is None
    last = contributor.contribute(task(Segment.EVALUATE, final=True, number=3), never).disclosure
    assert last is not None
    for precision in (last.alone, last.federated, last.alone_holdout, last.federated_holdout):
        assert precision is not None
        assert 0 < precision <= 1


@pytest.mark.parametrize(
    ("disclose", "known"),
    [
        ("none", set()),
        ("rows", {"row_count"}),
        ("federated", {"federated", "federated_holdout"}),
        ("alone,fraud_rate", {"alone", "alone_holdout", "fraud_rate"}),
    ],
)
def test_nothing_is_disclosed_but_what_the_bank_chose(tmp_path: Path, disclose: str, known: set[str]) -> None:
    given = bank(tmp_path, disclose=disclose).contribute(task(Segment.EVALUATE, final=True), never).disclosure
    assert {name for name, value in (vars(given) if given else {}).items() if value is not None} == known


def test_a_bank_without_a_fraud_has_no_precision_of_its_own(tmp_path: Path) -> None:
    given = bank(tmp_path, frauds=0).contribute(task(Segment.EVALUATE, final=True), never).disclosure
    assert given is not None
    assert (given.row_count, given.fraud_rate, given.alone, given.federated) == (100, 0.0, None, None)


def test_a_holdout_that_is_not_finite_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    for value in (float("nan"), float("inf")):
        features = np.zeros((4, 2))
        features[2, 1] = value
        write(tmp_path / "holdout.parquet", Rows(features, np.arange(4) < 1), MANIFEST.features)
        with pytest.raises(
            Invalid, match=f"^holdout.parquet: column 'b' must hold finite numbers, got {value} in row 3$"
        ):
            Contributor(Settings(data_dir=tmp_path), MANIFEST, FeatureTable(rows(20)))


def test_a_deadline_that_is_near_costs_the_model_alone_and_not_the_round(tmp_path: Path) -> None:
    given = bank(tmp_path).contribute(task(Segment.EVALUATE, final=True, alone_until=0.0), never).disclosure
    assert given is not None
    assert given.federated is not None
    assert given.alone is given.alone_holdout is None


def of_payments(folder: Path, disclose: str = "alone") -> tuple[Contributor, Task]:
    """A bank with payments that has learnt its own counts as counters, and the final round's task."""
    paid = at_random(7, PLAN.start_time, (0, 59), 3_000, people=2_000, shops=40)
    settings = Settings(data_dir=folder, disclose=disclose)
    contributor = Contributor(settings, PAYMENTS, Payments(paid, PLAN, bytes(32)))
    counters = bytes(range(32))
    contributor.learn(counters, count_codec(PAYMENTS).encode(Payments(paid, PLAN, bytes(32)).counts()))
    state = RunState((0.0,) * 15, (1.0,) * 15, 85, 17, 1000.0, counters)
    vector = initial_vector(PAYMENTS, 7)
    segments = (Segment.EVALUATE, Segment.TRADE)
    sha256 = model_sha256(PAYMENTS, state, vector)
    key = RoundKey("run", 4, 1)
    asked = Task(key, "bank-01", 2, segments, RECIPE, 7, 1, True, sha256, state, vector, math.inf, counters)
    return contributor, asked


def test_a_bank_with_payments_counts_its_validation_rows_in_the_trades_terms(tmp_path: Path) -> None:
    contributor, asked = of_payments(tmp_path)
    released = contributor.contribute(asked, never)
    evaluate, codec = EvaluateCodec(), TradeCodec(7)
    counted = words(released, *asked.segments, manifest=PAYMENTS)
    legitimate, fraud = evaluate.decode(counted[: evaluate.length])
    trade = codec.decode(counted[evaluate.length :])
    assert trade.counts.days[:, DayField.PAYMENTS].sum() == legitimate.sum() + fraud.sum() > 0
    assert trade.counts.days[:, DayField.FRAUDS].sum() == fraud.sum() > 0
    drawn = trade.replicates.days[:, :, DayField.PAYMENTS].sum(axis=1)
    assert trade.histograms.sum(axis=(1, 2)).tolist() == drawn.tolist()
    assert len(set(drawn.tolist())) > 20
    assert released.disclosure is not None
    assert released.disclosure.alone is not None  # as in every final round
    assert "trade, 1774816 bytes: counts of validation payments" in released.record
    own = json.loads((tmp_path / "trade.json").read_text())
    assert own["model_sha256"] == asked.model_sha256.hex()
    assert own["frauds"] == fraud.sum()


def test_figures_of_the_trade_leave_in_a_final_round_alone(tmp_path: Path) -> None:
    contributor, asked = of_payments(tmp_path)
    with pytest.raises(Invalid, match=r"^a trade segment must be of a run's final round, run/4/1 is none$"):
        contributor.contribute(replace(asked, final=False), never)
    assert not (tmp_path / "trade.json").exists()


def test_the_final_model_is_kept_for_scoring_with_the_bank_s_threshold(tmp_path: Path) -> None:
    contributor, asked = of_payments(tmp_path)
    contributor.contribute(asked, never)
    kept = kept_model.load(tmp_path)
    own = json.loads((tmp_path / "trade.json").read_text())
    assert (kept.run_id, kept.run_state, kept.scoring.model_sha256) == ("run", asked.run_state, asked.model_sha256)
    assert kept.scoring.threshold is not None
    assert asdict(kept.scoring.threshold) == own["threshold"]
    assert kept.merchant_key == fingerprint(bytes(32))
    assert kept.logit_adjustment is RECIPE.logit_adjustment


def test_a_feature_table_s_threshold_is_for_so_many_alerts_in_a_thousand_rows(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, alert_budget=200)
    contributor = Contributor(settings, MANIFEST, FeatureTable(rows(20)))
    contributor.contribute(task(Segment.EVALUATE, final=True), never)
    found = kept_model.load(tmp_path).scoring.threshold
    assert found is not None
    assert found.alerts_a_day == 200.0  # 3 of 15 validation rows


def test_no_model_is_kept_before_the_final_round(tmp_path: Path) -> None:
    contributor = bank(tmp_path)
    early = replace(task(Segment.EVALUATE, final=True, number=4), step=1)
    for asked in (task(Segment.EVALUATE, number=2), task(Segment.EVALUATE, Segment.TRAIN, number=3), early):
        contributor.contribute(asked, never)
    assert not (tmp_path / kept_model.FILE).exists()


def test_a_bank_compares_itself_once_a_run_and_after_its_rounds_alone(tmp_path: Path) -> None:
    contributor = bank(tmp_path)

    def compared(asked: Task) -> bool:
        given = contributor.contribute(asked, never).disclosure
        return given is not None and given.federated is not None

    assert not compared(replace(task(Segment.EVALUATE, final=True, number=4), step=1))
    assert not compared(task(Segment.EVALUATE, Segment.TRAIN, final=True, number=5))
    assert compared(task(Segment.EVALUATE, final=True, number=6))
    assert not compared(task(Segment.EVALUATE, final=True, number=7))


PAID = at_random(7, PLAN.start_time, (0, 59), 500, people=300)
CARDS_MANIFEST = Manifest("cards", CARDS, feature_plan=PLAN)
FIRST, OTHER = bytes(32), bytes(range(32))


def test_a_bank_takes_no_counters_but_those_it_used_first(tmp_path: Path) -> None:
    counters = count_codec(CARDS_MANIFEST).encode(Payments(PAID, PLAN, bytes(32)).counts())

    def started(**settings: object) -> Contributor:
        own = Settings(data_dir=tmp_path, **settings)  # type: ignore[arg-type]  # checked by pydantic
        return Contributor(own, CARDS_MANIFEST, Payments(PAID, PLAN, bytes(32)))

    started().learn(FIRST, counters)
    for again in (started(), started(aggregation="secure")):
        assert not again.knows(FIRST)
        with pytest.raises(Invalid, match=r"^counters must be those that this bank used first, 000000000000, got 0001"):
            again.learn(OTHER, counters)
        assert not again.knows(OTHER)
        again.learn(FIRST, counters)
        assert again.knows(FIRST)
    for leave in ({"reopen_counts": True}, {"aggregation": "plain"}):  # plain has nothing to hide from the aggregator
        taking = started(**leave)
        taking.learn(OTHER, counters)
        assert taking.knows(OTHER)
        started(reopen_counts=True).learn(FIRST, counters)


def personal_bank(folder: Path, **settings: object) -> Contributor:
    own = Settings(data_dir=folder, personalise=True, **settings)  # type: ignore[arg-type]  # checked by pydantic
    return Contributor(own, MANIFEST, FeatureTable(rows(20)))


def test_fine_tuning_comes_after_the_final_round_and_changes_nothing_that_leaves(tmp_path: Path) -> None:
    contributor, asked = personal_bank(tmp_path), task(Segment.EVALUATE, final=True)
    released = contributor.contribute(asked, never)
    assert released.sha256 == bank(tmp_path).contribute(asked, never).sha256
    assert not (tmp_path / "personal.json").exists()
    contributor.after_run("run", never)
    told = json.loads((tmp_path / "personal.json").read_text())
    assert told["model_sha256"] == asked.model_sha256.hex()
    assert told["chosen_on"]["rows"] + told["measured_on"]["rows"] == 15
    kept = kept_model.load(tmp_path)
    assert kept.variants[0].model_sha256 == asked.model_sha256
    assert (kept.scoring.model_sha256.hex() == told["personal_sha256"]) == told["kept"]
    assert asked.vector is not None
    assert np.array_equal(asked.vector, initial_vector(MANIFEST, 7))


def test_a_final_round_that_a_killed_process_had_answered_is_enough_to_fine_tune(tmp_path: Path) -> None:
    asked = task(Segment.EVALUATE, final=True)
    personal_bank(tmp_path).contribute(asked, never)
    again = personal_bank(tmp_path)
    again.contribute(asked, never)  # from its disk
    again.after_run("run", never)
    assert (tmp_path / "personal.json").exists()


def test_fine_tuning_that_is_stopped_tells_nothing_and_is_not_begun_again(tmp_path: Path) -> None:
    contributor = personal_bank(tmp_path)
    contributor.contribute(task(Segment.EVALUATE, final=True), never)
    with pytest.raises(Cancelled):
        contributor.after_run("run", lambda: True)
    contributor.after_run("run", never)
    assert not (tmp_path / "personal.json").exists()


def test_another_round_after_the_final_one_is_no_final_model(tmp_path: Path) -> None:
    contributor = personal_bank(tmp_path)
    contributor.contribute(task(Segment.EVALUATE, final=True), never)
    contributor.contribute(task(Segment.EVALUATE, number=3), never)
    contributor.after_run("run", never)
    assert not (tmp_path / "personal.json").exists()


@pytest.mark.parametrize("disclose", ["none", "alone"])
def test_alone_is_told_in_the_trades_terms_when_the_run_is_over_and_leaves_by_choice_alone(
    tmp_path: Path, disclose: str
) -> None:
    contributor, asked = of_payments(tmp_path, disclose)
    released = contributor.contribute(asked, never)
    first = json.loads((tmp_path / "trade.json").read_text())
    assert first["alone"] is None
    contributor.after_run("run", never)
    own = json.loads((tmp_path / "trade.json").read_text())
    assert {**own, "alone": None} == first
    told = own["alone"]["average_precision"]["value"]
    assert own["alone"].keys() == own["figures"].keys()
    if disclose == "none":
        assert released.disclosure is None
    else:
        assert released.disclosure is not None
        assert told == pytest.approx(released.disclosure.alone, abs=0.002)  # from a histogram and from single rows


def test_alone_that_is_stopped_leaves_the_figures_as_they_are(tmp_path: Path) -> None:
    contributor, asked = of_payments(tmp_path, "none")
    contributor.contribute(asked, never)
    before = (tmp_path / "trade.json").read_bytes()
    with pytest.raises(Cancelled):
        contributor.after_run("run", lambda: True)
    assert (tmp_path / "trade.json").read_bytes() == before
