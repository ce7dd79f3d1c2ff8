"""`score FILE`: a line a transaction, under the bank's own column names, or a refusal before a line is written."""

import csv
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedfraud.errors import FedfraudError, Invalid, Misconfigured, NotFound
from fedfraud.recipe import recipe_named
from services.bank_client import evaluation, features
from services.bank_client.examples import Payments
from services.bank_client.kept_model import KeptModel, load_counters
from services.bank_client.score_file import score_file
from services.bank_client.scoring import Scorer
from services.bank_client.transactions import Transactions
from tests.services.bank_client.payments import at_random
from tests.services.bank_client.scoring_banks import (
    KEY,
    PLAN,
    drawn_table,
    numbered,
    paid,
    payments_bank,
    settings,
    table_bank,
    write_payments,
)

ALL = paid()


def scored(folder: Path, file: Path, reasons: int = 3, **chosen: object) -> list[dict[str, str]]:
    assert score_file(settings(folder, **chosen), file, folder / "out.csv", reasons) == 0
    with (folder / "out.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def probabilities(lines: list[dict[str, str]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([float(line["probability"]) for line in lines])


def validated(kept: KeptModel, folder: Path, payments: Transactions) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The validation payments' probabilities as a run evaluates them."""
    own = Payments(payments, PLAN, KEY)
    own.learn(kept.run_state.counters_sha256, load_counters(folder, kept))
    rows = own.under(kept.run_state.counters_sha256).validation
    logits = evaluation.logits(kept.manifest, recipe_named("cards"), kept.run_state, kept.vector, rows)
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))


def test_the_validation_payments_have_the_scores_of_an_evaluation(tmp_path: Path) -> None:
    many = at_random(7, PLAN.start_time, (0, 59), 3_000, people=2_000, shops=40)
    kept = payments_bank(tmp_path, many)
    _, places = features.split(many, PLAN)
    ids = [numbered(many)[place] for place in places]
    write_payments(tmp_path / "week.parquet", many.take(places), ids)
    lines = scored(tmp_path, tmp_path / "week.parquet", 0)
    assert [line["transaction_id"] for line in lines] == ids
    assert len(lines) > 200
    assert np.abs(probabilities(lines) - validated(kept, tmp_path, many)).max() < 1e-6


def test_a_line_has_what_its_heading_says(tmp_path: Path) -> None:
    kept = payments_bank(tmp_path, ALL, rows=1_500)
    write_payments(tmp_path / "new.parquet", ALL.take(np.arange(1_500, 2_000)), numbered(ALL)[1_500:], labels=False)
    lines = scored(tmp_path, tmp_path / "new.parquet", 2)
    assert [line["transaction_id"] for line in lines] == numbered(ALL)[1_500:]
    assert list(lines[0]) == [
        *["transaction_id", "probability", "alert", "reason_1", "weight_1", "reason_2", "weight_2"],
        *["stale_days", "model_sha256", "feature_plan_sha256"],
    ]
    assert {line["model_sha256"] for line in lines} == {kept.scoring.model_sha256.hex()}
    assert {line["feature_plan_sha256"] for line in lines} == {PLAN.sha256.hex()}
    threshold = kept.scoring.threshold
    assert threshold is not None
    assert [line["alert"] == "yes" for line in lines] == (probabilities(lines) >= threshold.probability).tolist()
    assert {line["alert"] for line in lines} == {"yes", "no"}
    assert (tmp_path / "out.csv").stat().st_mode & 0o777 == 0o600


def test_json_lines_say_what_each_reason_is_about(tmp_path: Path) -> None:
    payments_bank(tmp_path, ALL, rows=1_500)
    write_payments(
        tmp_path / "new.parquet", ALL.take(np.arange(1_500, 1_510)), numbered(ALL)[1_500:1_510], labels=False
    )
    score_file(settings(tmp_path), tmp_path / "new.parquet", tmp_path / "out.jsonl", 7)
    first = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    amount = next(reason for reason in first["reasons"] if reason["name"] == "amount")
    assert amount["seen"][0]["value"] == ALL.amount[1_500] / 100
    assert amount["seen"][0]["usual"] == pytest.approx(ALL.amount.mean() / 100)


def test_a_feature_table_is_scored_without_history_and_labels_in_its_own_names(tmp_path: Path) -> None:
    rows = drawn_table(200)
    kept = table_bank(tmp_path, rows)
    (tmp_path / "map.toml").write_text('contract = "tutorial"\n[columns]\nfeature_01 = "first"\n')
    names = ["first", *(f"feature_{place:02}" for place in range(2, 31))]
    text = "\n".join([",".join(names), *(",".join(map(repr, row)) for row in rows.features[:50].tolist())])
    (tmp_path / "new.csv").write_text(text + "\n")
    lines = scored(tmp_path, tmp_path / "new.csv", column_map="map.toml")
    assert np.abs(probabilities(lines) - Scorer(kept).score(rows.features[:50], 0).probabilities).max() < 1e-12
    assert [line["transaction_id"] for line in lines[:2]] == ["new.csv:1", "new.csv:2"]
    assert lines[0]["reason_1"].startswith("feature_")
    assert lines[0]["feature_plan_sha256"] == ""


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("12,x,m1,ten", "new.csv: column 'amount' must hold finite numbers, got 'ten' in row 2"),
        ("11,x,m1,1", "new.csv: transaction_id must be unique, the id in row 2 came before"),
        ("12,x,m1,-1", "new.csv: column 'amount' must be at least 0 euro, got '-1' in row 2"),
        ("12,,m1,1", "new.csv: column 'customer_id' must hold an id, got nothing in row 2"),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused_and_nothing_is_written(tmp_path: Path, cell: str, sentence: str) -> None:
    payments_bank(tmp_path, ALL, rows=1_500)
    lines = ["transaction_id,customer_id,merchant_id,amount,time"]
    lines += [f"{row},2018-05-28 12:00:0{place}" for place, row in enumerate(("11,x,m1,1", cell))]
    (tmp_path / "new.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(Invalid) as refused:
        score_file(settings(tmp_path), tmp_path / "new.csv", tmp_path / "out.csv", 3)
    assert str(refused.value).startswith(sentence)
    assert not (tmp_path / "out.csv").exists()


def test_payments_beyond_the_counters_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    payments_bank(tmp_path, ALL)
    reached = PLAN.start_time + (PLAN.counted_days + PLAN.label_delay_days) * 86_400
    late = ALL.take(np.arange(1_990, 2_000))
    late.time[:] = reached + 3 * 86_400 - 5 + np.arange(10)
    write_payments(tmp_path / "new.parquet", late, [f"late-{place}" for place in range(10)], labels=False)
    lines = scored(tmp_path, tmp_path / "new.parquet")
    assert [line["stale_days"] for line in lines] == ["2"] * 5 + ["3"] * 5
    assert "another run brings them up to date" in caplog.text


def test_payments_before_a_day_are_left_out_and_still_known(tmp_path: Path) -> None:
    payments_bank(tmp_path, ALL)
    early = (
        r"^dataset.parquet: column 'time' must be from 2018-05-09 on to be scored, .*, got 2018-\d\d-\d\d .* in row 1 "
    )
    with pytest.raises(Invalid, match=early):
        score_file(settings(tmp_path), tmp_path / "dataset.parquet", tmp_path / "out.csv", 3)
    day = date(2018, 5, 23)
    score_file(settings(tmp_path), tmp_path / "dataset.parquet", tmp_path / "since.csv", 3, day)
    first = int(np.searchsorted(ALL.time, PLAN.start_time + PLAN.test_start * 86_400))
    write_payments(tmp_path / "new.parquet", ALL.take(np.arange(first, 2_000)), numbered(ALL)[first:], labels=False)
    scored(tmp_path, tmp_path / "new.parquet")
    assert (tmp_path / "since.csv").read_text() == (tmp_path / "out.csv").read_text()


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="a bank must have kept a model to score with"):
        score_file(settings(tmp_path), tmp_path / "new.csv", None, 3)
    payments_bank(tmp_path, ALL)
    for out, reasons, kind, sentence in (
        ("out.txt", 3, Misconfigured, "--out must be a .csv or .jsonl file, got out.txt"),
        ("out.csv", -1, Misconfigured, "--reasons must be 0 to 100, got -1"),
        ("out.csv", 3, FedfraudError, "none.csv"),
    ):
        with pytest.raises(kind, match=sentence):
            score_file(settings(tmp_path), tmp_path / "none.csv", tmp_path / out, reasons)
    write_payments(tmp_path / "new.parquet", ALL.take(np.arange(1_999, 2_000)), ["1999"])
    with pytest.raises(Misconfigured, match="--out must be writable"):
        score_file(settings(tmp_path), tmp_path / "new.parquet", tmp_path / "none" / "out.csv", 3)


def test_standard_output_has_the_same_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    payments_bank(tmp_path, ALL)
    write_payments(tmp_path / "new.parquet", ALL.take(np.arange(1_990, 2_000)), numbered(ALL)[1_990:], labels=False)
    scored(tmp_path, tmp_path / "new.parquet")
    score_file(settings(tmp_path), tmp_path / "new.parquet", None, 3)
    assert capsys.readouterr().out == (tmp_path / "out.csv").read_text()
