"""Certificates that are renewed, rotated and revoked while a run goes on; no process is restarted for it."""

import signal
import socket
import ssl
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from tests.federation.networks import Network, network
from tests.federation.waiting import wait_for

SIX_SECONDS = 6 / 3600
LONG = 10_000


def two_banks(present: Network) -> None:
    """Two small banks in a run that a test stops itself."""
    for number in (1, 2):
        present.give_rows(number, 300)
    present.start_aggregator()
    present.start_banks(1, 2)
    present.start_run("--rounds", str(LONG))
    present.wait("round_committed", lambda event: event.step == 1)


def shown(present: Network) -> bytes:
    """The certificate that the aggregator shows in a new handshake; its CA and its name are checked."""
    trust = ssl.create_default_context(cafile=str(present.join_dir / "bank" / "ca.pem"))
    host, port = present.enrolment_address.split(":")
    with (
        socket.create_connection((host, int(port)), 10) as plain,
        trust.wrap_socket(plain, server_hostname=host) as tls,
    ):
        return tls.getpeercert(binary_form=True) or b""


def test_banks_renew_their_certificates_during_a_run_without_a_restart(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=2, quorum=2, bank_certificate_hours=SIX_SECONDS) as present:
        two_banks(present)
        processes = {name: process.pid for name, process in present.processes.items()}

        def renewed_twice() -> bool:
            renewals = Counter(event.seat for event in present.events("certificate_issued") if event.renewal)
            return all(renewals[seat] >= 2 for seat in ("bank-01", "bank-02"))

        wait_for(renewed_twice, "both banks renew twice", 40.0)
        lease = present.wait("lease_granted", lambda event: event.fencing_number == 3)
        step = present.events("round_committed")[-1].step
        present.wait("round_committed", lambda event: event.step == step + 3)
        status, _ = present.operate("stop")
        assert status == 0
        present.run_ended()
        assert {name: process.pid for name, process in present.processes.items()} == processes
        assert all(process.is_alive() for process in present.processes.values())
        # No round was lost over it, and each renewal's certificate is the one that took the next lease.
        assert not present.events("round_void")
        assert {len(event.seats) for event in present.events("round_committed")} == {2}
        issued = [event.fingerprint for event in present.events("certificate_issued") if event.seat == lease.seat]
        taken = [event.fingerprint for event in present.events("lease_granted") if event.seat == lease.seat]
        assert taken[:3] == issued[:3]
        log = present.log_file("bank-01").read_text()
        assert "certificate renewed" in log
        assert "ERROR" not in log


def test_the_aggregator_rotates_its_own_certificate_and_the_banks_stay(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=2, quorum=2, server_certificate_hours=4 / 3600) as present:
        two_banks(present)
        first = shown(present)
        second = wait_for(lambda: certificate if (certificate := shown(present)) != first else b"", "it rotates", 20.0)
        loaded = [x509.load_der_x509_certificate(der) for der in (first, second)]
        assert loaded[0].public_key() != loaded[1].public_key()
        assert loaded[0].not_valid_after_utc < loaded[1].not_valid_after_utc
        step = present.events("round_committed")[-1].step
        present.wait("round_committed", lambda event: event.step == step + 3)
        present.operate("stop")
        present.run_ended()
        assert [event.fencing_number for event in present.events("lease_granted")] == [1, 1]


def test_a_bank_whose_certificate_ran_out_while_it_was_away_enrols_again_with_its_key(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=1, bank_certificate_hours=8 / 3600, lapse_after=60) as present:
        present.give_rows(1, 300)
        present.start_aggregator()
        present.start_banks(1)
        present.signal(1, signal.SIGTERM)
        assert present.exit_status("bank-01", 10) == 0
        certificate = (tmp_path / "bank-01" / "identity.pem").read_bytes().partition(b"-----BEGIN CERT")
        expiry = x509.load_pem_x509_certificate(certificate[1] + certificate[2]).not_valid_after_utc
        wait_for(lambda: datetime.now(UTC) > expiry, "the certificate runs out")
        wait_for(lambda: present.operate("list")[1].endswith("(expired)"), "the operator sees it expired")
        leases = len(present.events("lease_granted"))
        present.start_bank(1)
        back = present.wait("lease_granted", count=leases + 1)
        assert (back.seat, back.fencing_number) == ("bank-01", leases + 1)
        assert {event.seat for event in present.events("certificate_issued")} == {"bank-01", ""}
        assert "certificate expired, enrolling again" in present.log_file("bank-01").read_text()


def test_a_revoked_bank_is_shut_out_during_a_run_and_exits_1(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=2, quorum=1, round_deadline=1.0) as present:
        two_banks(present)
        assert present.operate("revoke", "bank-02", "--reason", "its key was copied") == (0, "bank-02 is revoked")
        assert present.exit_status("bank-02", 10) == 1
        log = present.log_file("bank-02").read_text()
        assert "shut out" in log
        assert "(its key was copied)" in log
        last = present.events("round_opened")[-1].key.round
        alone = present.wait("round_committed", lambda event: event.key.round == last + 3)
        assert list(alone.seats) == ["bank-01"]
        assert present.operate("list")[1].splitlines()[2].split()[:2] == ["bank-02", "revoked"]
        assert present.operate("revoke", "bank-02") == (0, "bank-02 is revoked")  # again: nothing changes
        assert len(present.events("certificate_revoked")) == 1
        present.start_bank(2)
        assert present.exit_status("bank-02", 10) == 1
        assert present.operate("stop")[0] == 0
        present.run_ended()


def test_an_operator_is_told_in_a_line_what_may_not_be(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=1, simulation=True) as present:
        present.give_rows(1, 300)
        present.start_aggregator()
        present.start_banks(1)
        refusals = {
            ("stop",): "refused: FAILED_PRECONDITION: a run must be going on to be stopped, none is",
            ("start", "--recipe", "magic"): (
                "refused: INVALID_ARGUMENT: recipe must be one of tutorial, default, cards, got 'magic'"
            ),
            ("lapse", "bank-01"): "refused: FAILED_PRECONDITION: a seat must be absent to lapse, bank-01 is present",
            ("lapse", "bank-09"): "refused: NOT_FOUND: a seat must be enrolled, got 'bank-09'",
            ("revoke", "bank-09"): "refused: NOT_FOUND: a seat must be enrolled, got 'bank-09'",
            ("revoke", "bank-01", "--reason", "r" * 201): (
                "refused: INVALID_ARGUMENT: a reason must have at most 200 characters, got 201"
            ),
        }
        assert {words: present.operate(*words) for words in refusals} == {
            words: (1, sentence) for words, sentence in refusals.items()
        }


def test_an_operator_sees_the_open_round_and_lets_an_absent_bank_lapse(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=2, quorum=2, lapse_after=3600) as present:
        for number in (1, 2):
            present.give_rows(number, 300)
        present.start_aggregator()
        present.start_banks(1, 2)
        present.pause(2)
        run_id = present.start_run("--rounds", "2")
        present.accepted(run_id, 1, "bank-01")
        lines = present.operate("status")[1].splitlines()
        assert lines[:4] == [
            "banks        2 present",
            f"run          {run_id}, 0 of 2 rounds",
            "round        1: standardise",
            "answered     1 of 2: bank-01",
        ]
        assert lines[4].startswith("waiting for  bank-02 for ")
        assert present.operate("start") == (
            1,
            f"refused: FAILED_PRECONDITION: a run must end before the next begins, {run_id} is going on",
        )
        present.resume(2)
        present.run_ended(run_id)
        present.kill(2)
        present.wait("seat_absent")
        assert present.operate("lapse", "bank-02") == (0, "bank-02 has lapsed")
        assert present.operate("lapse", "bank-02") == (0, "bank-02 has lapsed")
        assert [event.reason for event in present.events("seat_lapsed")] == ["an operator let it lapse"]
