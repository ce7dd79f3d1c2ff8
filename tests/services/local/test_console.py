"""What a person sees of a local run."""

import re

import pytest

from fedfraud.v1 import history_pb2, model_pb2
from fedfraud.wire import scores_to_proto
from services.local.console import Console
from tests.services.reporter.journals import FAILED, Journal, scores, two_banks


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines without the seconds since the start."""
    return [re.sub(r"^ *\d+\.\d s  ", "", line) for line in capsys.readouterr().out.splitlines()]


def show(journal: Journal, banks: int = 2, rounds: int = 2) -> Console:
    console = Console(banks, rounds)
    for entry in journal.entries:
        console.show(entry)
    return console


def test_a_run_is_a_table_of_its_rounds(capsys: pytest.CaptureFixture[str]) -> None:
    show(two_banks())
    lines = [line.split() for line in shown(capsys)]
    assert lines == [
        ["run", "20261123-224501-5f3a", "started,", "quorum", "1"],
        ["round", "banks", "AP", "hold-out", "AUROC", "pooled", "before", "seconds"],
        ["scaler", "2", "0.020", "0.900", "-", "0.25"],
        ["1/2", "2", "0.400", "0.900", "0.020", "0.25"],
        ["2/2", "2", "0.700", "0.900", "0.300", "0.25"],
        ["final", "2", "0.700", "0.900", "0.600", "0.25"],
    ]


def test_the_columns_stand_under_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    show(two_banks())
    _, header, *rounds = shown(capsys)
    ends = [match.end() for match in re.finditer(r"round|banks|AP hold-out|AUROC|pooled before|seconds", header)]
    for line in rounds:
        assert [match.end() for match in re.finditer(r"\S+", line)] == ends


def test_a_person_hears_who_joins_leaves_is_refused_or_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal()
    journal.add(lease_granted=history_pb2.LeaseGranted(seat="bank-01", fencing_number=1))
    journal.add(seat_absent=history_pb2.SeatAbsent(seat="bank-01", fencing_number=1))
    journal.add(lease_granted=history_pb2.LeaseGranted(seat="bank-01", fencing_number=2))
    journal.refused("bank-01", "a weight must be 1 to 1048576, got 0")
    bank, reporter = model_pb2.ROLE_BANK, model_pb2.ROLE_REPORTER
    journal.add(certificate_revoked=history_pb2.CertificateRevoked(role=bank, seat="bank-01", reason="stolen"))
    journal.add(certificate_revoked=history_pb2.CertificateRevoked(role=reporter, reason="a newer one"))
    journal.void(2, 1, ["bank-02"], "1 bank answered in time, the quorum is 2")
    show(journal)
    assert shown(capsys) == [
        "bank-01 joined (1 of 2)",
        "bank-01 left",
        "bank-01 joined (1 of 2, lease 2)",
        "refused bank-01: INVALID_ARGUMENT: a weight must be 1 to 1048576, got 0",
        "bank-01 (bank) was revoked: stolen",
        "round void: 1 bank answered in time, the quorum is 2",
    ]


def test_the_result_compares_banks_alone_with_the_federation(capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal().started().opened(1, ["bank-01", "bank-02"])
    journal.accepted(1, "bank-01", alone=0.5, federated=0.65, alone_holdout=0.3, federated_holdout=0.7)
    journal.accepted(1, "bank-02", alone=0.8, federated=0.6, alone_holdout=0.1, federated_holdout=0.7)
    journal.committed(1, 1, ["bank-01", "bank-02"], holdout=scores(0.7)).finished(model=b"\x03" * 32)
    Console(2, 2).result(journal.facts(), "reports/x/report.md")
    lines = shown(capsys)
    assert [line.split() for line in lines[1:7]] == [
        ["average", "precision", "hold-out", "own", "rows"],
        ["a", "bank", "alone,", "best", "0.300", "0.800"],
        ["a", "bank", "alone,", "mean", "0.200", "0.650"],
        ["a", "bank", "alone,", "worst", "0.100", "0.500"],
        ["federated", "(own", "rows:", "mean)", "0.700", "0.625"],
        ["no", "skill", "(share", "of", "frauds)", "0.020"],
    ]
    assert lines[8].startswith("time    start ")
    assert lines[9:] == [f"model   {'03' * 32}", "report  reports/x/report.md"]


def test_the_result_has_what_all_rows_in_one_place_reach_where_that_is_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    journal = Journal().started().opened(1, ["bank-01"])
    journal.committed(1, 1, ["bank-01"], holdout=scores(0.7)).finished(model=b"\x03" * 32)
    journal.entries[-1].run_finished.central.CopyFrom(scores_to_proto(scores(0.65)))
    Console(2, 2).result(journal.facts(), "r")
    assert ["all", "rows", "in", "one", "place", "0.650"] in [line.split() for line in shown(capsys)]


def test_figures_that_are_not_known_are_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal().started().opened(1, ["bank-01"])
    journal.committed(1, 0, ["bank-01"], pooled=scores(None))
    console = show(journal.finished())
    assert shown(capsys)[-1].split() == ["scaler", "1", "-", "-", "-", "0.25"]
    console.result(journal.facts(), "r")
    assert [line.split()[-2:] for line in shown(capsys)[2:6]] == [["-", "-"]] * 4


def test_a_run_that_made_no_model_has_none_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    Console(2, 2).result(Journal().started().finished(FAILED, "too few banks").facts(), "r")
    assert shown(capsys)[-2:] == ["model   -", "report  r"]
