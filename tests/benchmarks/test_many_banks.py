"""The benchmark of many banks divides a bank's memory by a bare channel's, and says whether the aim is held."""

from pathlib import Path

import pytest

from benchmarks import many_banks
from benchmarks.measuring import Report, Row

OURS: Row = {"KB a bank, joined": 120.0, "KB a bank, after rounds": 300.0, "KB a bank, peak": 500.0}
BARE: Row = {"bare KB a channel": 100.0, "bare KB, after rounds": 200.0, "bare KB, peak": 250.0}


def test_memory_is_divided_by_what_a_bare_channel_has_at_the_same_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def federation(*_: object) -> Row:
        return {"banks": 10, "s a round": 0.1, **OURS}

    async def bare(*_: object) -> Row:
        return BARE

    monkeypatch.setattr(many_banks, "federation", federation)
    monkeypatch.setattr(many_banks, "bare", bare)
    monkeypatch.setattr("sys.argv", ["many_banks.py", "--banks=10", f"--folder={tmp_path}"])
    many_banks.main()
    assert [line.partition("bare, ")[2] for line in capsys.readouterr().out.splitlines() if "the aim" in line] == [
        "joined: with 10 banks 1.20 (the aim: at most 2.00): yes; the most is 1.20 with 10",
        "after rounds: with 10 banks 1.50 (the aim: at most 2.00): yes; the most is 1.50 with 10",
        "peak: with 10 banks 2.00 (the aim: at most 2.00): yes; the most is 2.00 with 10",
    ]


def test_a_bank_of_the_most_stands_beside_the_aim_and_the_dearest_is_told() -> None:
    report = Report("many banks", "", machine={})
    joined, after, peak = many_banks.TIMES
    report.tables["banks"] = [
        {"banks": 1000, joined: 1.25, after: 2.1, peak: 1.5},
        {"banks": 10, joined: 2.5, after: 1.5, peak: 1.75},
    ]
    many_banks.hold(report)
    begun = "aggregator's memory a bank, times bare, "
    assert report.findings == [
        f"{begun}joined: with 1000 banks 1.25 (the aim: at most 2.00): yes; the most is 2.50 with 10",
        f"{begun}after rounds: with 1000 banks 2.10 (the aim: at most 2.00): no; the most is 2.10 with 1000",
        f"{begun}peak: with 1000 banks 1.50 (the aim: at most 2.00): yes; the most is 1.75 with 10",
    ]
