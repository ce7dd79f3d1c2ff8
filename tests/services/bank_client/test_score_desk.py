"""The desk's answers: the same as `score FILE` gives, and a sentence for whatever cannot be scored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedfraud.errors import FedfraudError, Invalid, Misconfigured
from fedfraud.model import initial_vector
from fedfraud.v1 import scoring_pb2
from services.bank_client.kept_model import keep
from services.bank_client.score_desk import ScoreDesk
from services.bank_client.score_file import read_asked
from services.bank_client.score_inputs import read_inputs
from services.bank_client.scoring import Scorer
from services.bank_client.transactions import Transactions
from tests.services.bank_client.scoring_banks import (
    PLAN,
    TABLE,
    THRESHOLD,
    drawn_table,
    kept_of,
    numbered,
    paid,
    payments_bank,
    settings,
    table_bank,
    write_payments,
)

ALL = paid()


def asked(row: int, payments: Transactions = ALL, **changed: Any) -> scoring_pb2.ScoreRequest:  # noqa: ANN401  # any of the fields
    values = {
        "transaction_id": str(row),
        "customer_id": payments.customer_ids[payments.customer[row]],
        "merchant_id": payments.merchant_ids[payments.merchant[row]],
        "amount_cents": int(payments.amount[row]),
    }
    seconds = changed.pop("time", int(payments.time[row]))
    request = scoring_pb2.ScoreRequest(payment=scoring_pb2.Payment(**{**values, **changed}))
    request.payment.time.seconds = seconds
    return request


def row_of(values: np.ndarray) -> scoring_pb2.ScoreRequest:
    pairs = zip(TABLE.features, values.tolist(), strict=True)
    told = [scoring_pb2.FeatureValue(name=feature.name, value=value) for feature, value in pairs]
    return scoring_pb2.ScoreRequest(features=scoring_pb2.FeatureRow(values=reversed(told)))


def test_payments_one_after_another_have_the_scores_of_a_file(tmp_path: Path) -> None:
    payments_bank(tmp_path / "whole", ALL)
    payments_bank(tmp_path / "history", ALL, rows=1_800)
    write_payments(tmp_path / "new.parquet", ALL.take(np.arange(1_800, 2_000)), numbered(ALL)[1_800:], labels=False)
    inputs = read_inputs(settings(tmp_path / "whole"))
    offline = inputs.scorer.score(
        read_asked(settings(tmp_path / "whole"), inputs, tmp_path / "new.parquet").features, 3
    )
    desk = ScoreDesk(settings(tmp_path / "history"))
    for place, row in enumerate(range(1_800, 2_000)):
        answer = desk.score(asked(row))
        assert abs(answer.probability - offline.probabilities[place]) < 1e-12
        assert offline.alerts is not None
        assert answer.alert == offline.alerts[place]
        assert [reason.name for reason in answer.reasons] == [reason.name for reason in offline.reasons[place]]


def test_an_answer_has_the_threshold_the_reasons_and_the_hashes(tmp_path: Path) -> None:
    kept = payments_bank(tmp_path, ALL, rows=1_800)
    answer = ScoreDesk(settings(tmp_path)).score(asked(1_800))
    assert answer.probability == pytest.approx(1 / (1 + np.exp(-answer.logit)))
    assert (answer.threshold, answer.alert) == (THRESHOLD.probability, answer.probability >= THRESHOLD.probability)
    assert (answer.run_id, answer.model_sha256) == ("run-1", kept.scoring.model_sha256)
    assert answer.feature_plan_sha256 == PLAN.sha256
    assert answer.stale_days == 0
    weights = [abs(reason.weight) for reason in answer.reasons]
    assert weights == sorted(weights, reverse=True)
    assert len(weights) == 3
    every = asked(1_801)
    every.reason_count = 7
    (amount,) = (r for r in ScoreDesk(settings(tmp_path)).score(every).reasons if r.name == "amount")
    assert amount.seen[0].value == ALL.amount[1_801] / 100
    assert (amount.seen[0].name, amount.seen[0].unit) == ("amount", "euro")


def test_the_same_payment_again_gets_the_same_answer_and_counts_once(tmp_path: Path) -> None:
    payments_bank(tmp_path, ALL, rows=1_800)
    desk = ScoreDesk(settings(tmp_path))
    first = [desk.score(asked(row)) for row in range(1_800, 1_900)]
    assert [desk.score(asked(row)) for row in range(1_800, 1_900)] == first


def test_a_payment_that_is_refused_counts_as_not_made(tmp_path: Path) -> None:
    payments_bank(tmp_path / "a", ALL, rows=1_800)
    payments_bank(tmp_path / "b", ALL, rows=1_800)
    asking, refusing = ScoreDesk(settings(tmp_path / "a")), ScoreDesk(settings(tmp_path / "b"))
    with pytest.raises(Invalid):
        refusing.score(asked(1_800, amount_cents=-1))
    too_many = asked(1_800)
    too_many.reason_count = 101
    with pytest.raises(Invalid, match="reasons must be 0 to 100, got 101"):
        refusing.score(too_many)
    assert [refusing.score(asked(row)) for row in (1_800, 1_801)] == [
        asking.score(asked(row)) for row in (1_800, 1_801)
    ]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"transaction_id": ""}, "a transaction_id must have 1 to 256 bytes, got 0"),
        ({"customer_id": "é" * 129}, "a customer_id must have 1 to 256 bytes, got 258"),
        ({"merchant_id": ""}, "a merchant_id must have 1 to 256 bytes, got 0"),
        ({"amount_cents": 10**11 + 1}, "amount_cents must be 0 to 100000000000, got 100000000001"),
        ({"time": 2_000_000_301}, "a time must not be later than now, 2033-05-18 03:33:20, by more than 300 seconds"),
        ({"time": -1}, "a time must be from 1970 on, got -1 seconds"),
        ({"time": 1_500_000_000, "customer_id": "new"}, "payments to be scored must be from 2018-05-09 on"),
    ],
)
def test_a_value_out_of_range_is_refused(tmp_path: Path, changed: dict[str, Any], sentence: str) -> None:
    payments_bank(tmp_path, ALL, rows=1_800)
    desk = ScoreDesk(settings(tmp_path), clock=lambda: 2_000_000_000.0)
    with pytest.raises(Invalid) as refused:
        desk.score(asked(1_800, **changed))
    assert str(refused.value).startswith(sentence)


def test_a_payment_of_days_that_no_counters_reach_says_how_stale_they_are(tmp_path: Path) -> None:
    payments_bank(tmp_path, ALL, rows=1_800)
    reached = PLAN.start_time + (PLAN.counted_days + PLAN.label_delay_days) * 86_400
    answer = ScoreDesk(settings(tmp_path)).score(asked(1_900, time=reached + 5 * 86_400))
    assert answer.stale_days == 5


def test_a_row_of_features_has_its_score_whatever_their_order(tmp_path: Path) -> None:
    rows = drawn_table(200)
    kept = table_bank(tmp_path, rows)
    desk, offline = ScoreDesk(settings(tmp_path)), Scorer(kept).score(rows.features, 3)
    for place in range(0, 200, 10):
        answer = desk.score(row_of(rows.features[place]))
        assert abs(answer.probability - offline.probabilities[place]) < 1e-12
        assert answer.feature_plan_sha256 == b""
        assert answer.reasons[0].seen[0].name == answer.reasons[0].name


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda row: row.values.pop(), "features must be the 30 of the model, each once, got 29, without 'feature_01'"),
        (lambda row: row.values.append(row.values[0]), "features must be the 30 of the model, each once, got 31"),
        (lambda row: setattr(row.values[0], "name", "x"), "got 30, without 'feature_30', with 'x'"),
        (lambda row: setattr(row.values[0], "value", float("nan")), "'feature_30' must be finite"),
        (lambda row: setattr(row.values[0], "value", 2.0**20), "within ±2**40 times its resolution"),
    ],
)
def test_a_row_that_is_not_the_model_s_is_refused(tmp_path: Path, change: Callable[[Any], None], sentence: str) -> None:
    table_bank(tmp_path, drawn_table(200))
    request = row_of(np.ones(30))
    change(request.features)
    with pytest.raises(Invalid) as refused:
        ScoreDesk(settings(tmp_path)).score(request)
    assert sentence in str(refused.value)


def test_a_transaction_is_what_the_bank_has(tmp_path: Path) -> None:
    payments_bank(tmp_path / "payments", ALL, rows=1_800)
    table_bank(tmp_path / "table", drawn_table(200))
    with pytest.raises(Invalid, match="a transaction of this bank must be a payment, got features"):
        ScoreDesk(settings(tmp_path / "payments")).score(row_of(np.ones(30)))
    with pytest.raises(Invalid, match="a transaction of this bank must be features, got payment"):
        ScoreDesk(settings(tmp_path / "table")).score(asked(1_800))
    with pytest.raises(Invalid, match="must be features, got none"):
        ScoreDesk(settings(tmp_path / "table")).score(scoring_pb2.ScoreRequest())


def test_a_later_run_s_model_takes_over_and_what_came_meanwhile_is_known(tmp_path: Path) -> None:
    kept = payments_bank(tmp_path, ALL, rows=1_800)
    desk = ScoreDesk(settings(tmp_path))
    first = desk.score(asked(1_800))
    later = kept_of(kept.manifest, kept.run_state, initial_vector(kept.manifest, 8), "run-2")
    keep(tmp_path, later)
    assert desk.score(asked(1_800)) == first
    desk.take(desk.read())
    again = desk.score(asked(1_800))
    assert (again.run_id, again.model_sha256) == ("run-2", later.scoring.model_sha256)
    assert again.probability != first.probability
    assert desk.about["run"] == "run-2"
    table_bank(tmp_path, drawn_table(200))
    with pytest.raises(Misconfigured, match="must be of what the bank has"):
        desk.take(desk.read())
    assert desk.score(asked(1_801)).run_id == "run-2"


def test_a_bank_without_a_model_has_no_desk(tmp_path: Path) -> None:
    with pytest.raises(FedfraudError, match="a bank must have kept a model to score with"):
        ScoreDesk(settings(tmp_path))
