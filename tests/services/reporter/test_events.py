"""What happened, in words."""

from fedfraud.v1 import history_pb2
from services.reporter.facts import RunFacts
from services.reporter.fold import LAST_EVENTS
from tests.services.reporter.journals import FAILED, PREPARING, RUN, Journal


def said(run: RunFacts) -> list[tuple[str, str, str]]:
    return [(event.kind, event.level, event.text) for event in run.events]


def leased(journal: Journal, seat: str, number: int = 1) -> Journal:
    return journal.add(lease_granted=history_pb2.LeaseGranted(seat=seat, fencing_number=number))


def gone(journal: Journal, seat: str, number: int = 1) -> Journal:
    return journal.add(seat_absent=history_pb2.SeatAbsent(seat=seat, fencing_number=number))


def test_a_run_is_told_from_the_first_bank_to_its_end() -> None:
    journal = leased(leased(Journal(), "bank-01"), "bank-02").started()
    journal.opened(1, ["bank-01", "bank-02"]).committed(1, 0, ["bank-01", "bank-02"], PREPARING)
    journal.opened(2, ["bank-01", "bank-02"]).committed(2, 1, ["bank-01"])
    journal.opened(3, ["bank-01"]).void(3, 2, [], "0 banks answered, the quorum is 1")
    run = journal.finished(FAILED, "too many voids").facts()
    assert said(run) == [
        ("bank", "info", "bank-01 joined."),
        ("bank", "info", "bank-02 joined."),
        ("run", "info", f"Run {RUN} began: 2 training rounds, each needs at least 1 of 2 expected banks."),
        ("round", "info", "The preparing round is committed with 2 of 2 banks."),
        ("round", "info", "Training round 1 is committed with 1 of 2 banks."),
        ("missing", "warning", "No answer in time from bank-02."),
        ("round", "warning", "Training round 2 is void and the model unchanged: 0 banks answered, the quorum is 1"),
        ("missing", "warning", "No answer in time from bank-01."),
        ("run", "error", f"Run {RUN} failed: too many voids"),
    ]


def test_banks_that_come_and_go_are_told_and_their_state_is_a_fact() -> None:
    journal = leased(leased(leased(Journal().started(), "bank-01"), "bank-02"), "bank-03")
    journal.opened(1, ["bank-01", "bank-02", "bank-03"])
    gone(gone(journal, "bank-01"), "bank-02")
    leased(journal, "bank-01", 2)
    gone(journal, "bank-01", 1)  # the end of the former lease says nothing of the newer one
    journal.add(seat_lapsed=history_pb2.SeatLapsed(seat="bank-02", reason="no lease for 30 s"))
    journal.add(certificate_revoked=history_pb2.CertificateRevoked(seat="bank-03", reason="stolen"))
    gone(journal, "bank-03")
    run = journal.committed(1, 1, []).finished().facts()
    assert [(bank.seat, bank.state) for bank in run.banks] == [
        ("bank-01", "present"),
        ("bank-02", "lapsed"),
        ("bank-03", "revoked"),
    ]
    words = [event.text for event in run.events if event.kind == "bank"][3:]
    assert words == [
        "bank-01 is gone.",
        "bank-02 is gone.",
        "bank-01 is back.",
        "bank-02 lapsed: no lease for 30 s",
        "bank-03 was revoked: stolen",
    ]


def test_a_refusal_is_told_on_one_line_however_it_was_written() -> None:
    run = Journal().started().refused("bank-01", "<b>line\none</b>\x1b[2J" + "x" * 400).finished().facts()
    (event,) = [event for event in run.events if event.kind == "refusal"]
    assert event.text.startswith("A contribution of bank-01 was refused (INVALID_ARGUMENT): <b>line one</b> [2Jxx")
    assert event.text.endswith("…")
    assert len(event.text) < 400


def test_of_very_many_events_the_last_are_kept_and_the_others_counted() -> None:
    journal = Journal().started()
    for number in range(LAST_EVENTS + 9):
        journal.refused("bank-01", f"reason {number}")
    run = journal.finished().facts()
    assert (len(run.events), run.events_omitted) == (LAST_EVENTS, 11)  # its beginning and its end are events too
    assert run.events[0].text.endswith("reason 10")


def test_the_events_of_a_run_are_not_those_of_the_next() -> None:
    journal = leased(Journal(), "bank-01").started().finished()
    leased(journal, "bank-02").started(run="second").finished(run="second")
    assert [event.text.split()[0] for event in journal.facts().events] == ["bank-02", "Run", "Run"]
