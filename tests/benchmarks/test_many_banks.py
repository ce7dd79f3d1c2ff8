"""The benchmark of many banks says of a bank of the most whether the aim is held."""

from benchmarks import many_banks
from benchmarks.measuring import Report


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
