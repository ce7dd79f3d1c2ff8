"""The benchmark of training: what grows with rows is measured at each number of them and fitted."""

import pytest

from benchmarks import training
from benchmarks.measuring import Report


def test_what_a_bank_computes_is_measured_at_each_number_of_rows_and_fitted() -> None:
    report = Report("training", "", machine={})
    training.by_rows(report, [training.drawn(rows) for rows in (1_000, 40_000)])
    few, many = report.tables["by rows"]
    columns = [
        "summing for the scaler s",
        "standardising s",
        "training, default, local epochs 2 s",
        "training, tutorial, local epochs 1 s",
        "scoring s",
    ]
    assert list(few) == list(many) == ["rows", *columns]
    assert (few["rows"], many["rows"]) == (1_000, 40_000)
    for column in columns:
        assert float(many[column] or 0) > float(few[column] or 0) > 0, column  # forty times the rows
    starts = [f"by rows, {column.removesuffix(' s')} takes " for column in columns]
    assert [found[: len(start)] for found, start in zip(report.findings, starts, strict=True)] == starts
    assert all(" a row" in found and "the order is " in found for found in report.findings)


def test_rows_that_are_drawn_hold_the_frauds_that_are_said() -> None:
    rows = training.drawn(10_000)
    assert 50 < rows.fraud_count < 200  # one in a hundred
    state = training.scaled(rows)
    assert (state.row_count, state.fraud_count) == (10_000, rows.fraud_count)
    assert abs(state.standardise(rows.features).mean()) < 1e-3


ROWS = "must be a whole number from 1000 to 100000000"


@pytest.mark.parametrize(
    ("option", "numbers", "sentence"),
    [
        ("--growth", "10000", "--growth must be two numbers or more, got 10000"),
        ("--growth", "10000,10000", "argument --growth: must have each once, got 10000 twice"),
        ("--growth", "10,10000", f"argument --growth: {ROWS}, got '10'"),
        ("--growth", "10000,many", f"argument --growth: {ROWS}, got 'many'"),
        ("--rows", "0", f"argument --rows: {ROWS}, got '0'"),
    ],
)
def test_numbers_with_which_nothing_can_be_measured_are_refused(
    option: str, numbers: str, sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["training.py", option, numbers])
    with pytest.raises(SystemExit):
        training.main()
    assert capsys.readouterr().err.endswith(f"{sentence}\n")
