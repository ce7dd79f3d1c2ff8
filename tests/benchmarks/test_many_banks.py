"""The benchmark of many banks says of a bank of the most whether the aim is held."""

from benchmarks import many_banks
from benchmarks.measuring import Report


def test_a_bank_of_the_most_stands_beside_the_aim() -> None:
    report = Report("many banks", "", machine={})
    joined, after = many_banks.TIMES
    report.tables["banks"] = [
        {"banks": 1000, joined: 1.25, after: 2.1},
        {"banks": 10, joined: 2.5, after: 1.5},
    ]
    many_banks.hold(report)
    assert report.findings == [
        "aggregator's memory a bank, times bare, joined: with 1000 banks 1.25 (the aim: at most 2.00): yes",
        "aggregator's memory a bank, times bare, after rounds: with 1000 banks 2.10 (the aim: at most 2.00): no",
    ]
