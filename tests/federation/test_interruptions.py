"""Banks and aggregators that are killed, paused, doubled or missing: the run goes on, or ends and says why."""

import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from fedfraud.errors import Misconfigured
from fedfraud.v1 import history_pb2
from services.aggregator.verify import verify
from tests.federation.networks import FAILED, FINISHED, STOPPED, Network, network
from tests.federation.oracle import model_sha256
from tests.federation.waiting import wait_for

LONG = 10_000
"""Rounds of a run that a test stops itself."""


def seats_of(present: Network, number: int) -> list[str]:
    """Whose contributions are in the committed round."""
    (committed,) = [event for event in present.events("round_committed") if event.key.round == number]
    return list(committed.seats)


def stop_run(present: Network) -> None:
    """As the operator does."""
    status, said = present.operate("stop")
    run_id = present.events("run_started")[-1].run_id
    assert (status, said) == (0, f"run {run_id} ends after its open round")
    finished = present.run_ended(run_id)
    assert (finished.outcome, finished.reason) == (STOPPED, "an operator stopped it")


def test_a_bank_that_is_killed_while_it_trains_and_stays_away_costs_one_deadline(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=3, quorum=2, rounds=2, round_deadline=4.0) as present:
        for number, rows in ((1, 300), (2, 300), (3, 200_000)):
            present.give_rows(number, rows)
        present.start_aggregator()
        present.start_banks(1, 2, 3)
        run_id = present.start_run()
        for seat in ("bank-01", "bank-02"):
            present.accepted(run_id, 2, seat)
        present.kill(3)  # two seconds of training: it is in the middle of them
        finished = present.run_ended(run_id)
        assert finished.outcome == FINISHED
        assert [seats_of(present, number) for number in (1, 2, 3, 4)] == [
            ["bank-01", "bank-02", "bank-03"],
            ["bank-01", "bank-02"],
            ["bank-01", "bank-02"],
            ["bank-01", "bank-02"],
        ]
        opened = {event.key.round: list(event.cohort) for event in present.events("round_opened")}
        assert (len(opened[2]), len(opened[3])) == (3, 2)
        seconds = {event.key.round: event.seconds for event in present.events("round_committed")}
        assert seconds[2] >= 4.0
        assert seconds[3] < 4.0


def test_a_bank_that_is_killed_in_a_round_and_started_again_answers_it_under_its_old_seat(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=3, rounds=2, seed=7) as present:
        present.start_aggregator()
        present.start_banks(1, 2, 3)
        present.pause(1)
        run_id = present.start_run()
        present.accepted(run_id, 1, "bank-02")
        present.pause(2)
        present.resume(1)
        for seat in ("bank-01", "bank-03"):
            present.accepted(run_id, 2, seat)
        present.kill(2)  # in the first training round, which it has not answered
        present.start_bank(2)
        finished = present.run_ended(run_id)
        assert finished.outcome == FINISHED
        assert finished.model_sha256.hex() == model_sha256("default", 2, 3, 7)  # as if nothing had happened
        assert len(present.events("certificate_issued")) == 3 + 1  # three banks and an operator
        leases = [(event.seat, event.fencing_number) for event in present.events("lease_granted")]
        assert leases[3:] == [("bank-02", 2)]


def test_a_bank_that_is_paused_past_the_deadline_is_late_and_back_in_the_next_round(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=3, quorum=2, round_deadline=1.5) as present:
        for number in (1, 2, 3):
            present.give_rows(number, 2000)
        present.start_aggregator()
        present.start_banks(1, 2, 3)
        run_id = present.start_run("--rounds", str(LONG))
        present.wait("round_committed", lambda event: event.step == 2)
        present.pause(3)
        missed = present.wait("round_committed", lambda event: len(event.seats) == 2, "without the paused bank")
        later = present.wait("round_committed", lambda event: event.key.round == missed.key.round + 2)
        assert later.seconds < 1.5  # it is not waited for again
        present.resume(3)
        number = present.wait(
            "round_opened", lambda event: event.key.round > later.key.round and "bank-03" in event.cohort
        ).key.round
        present.accepted(run_id, number, "bank-03")
        back = present.wait("round_committed", lambda event: event.key.round == number)
        assert list(back.seats) == ["bank-01", "bank-02", "bank-03"]
        # Its answer to the round that it missed came late and was refused, unless the next round's call was quicker.
        for refused in present.events("contribution_refused"):
            assert (refused.seat, refused.status) == ("bank-03", "FAILED_PRECONDITION")
            assert refused.reason.startswith(f"a contribution must come before the deadline: round {run_id}/") or (
                refused.reason.startswith(f"a contribution must answer the open round, {run_id}/")
            )
        late = [event.key for event in present.events("contribution_accepted") if event.seat == "bank-03"]
        assert missed.key not in late
        leases = sorted(event.seat for event in present.events("lease_granted"))
        assert leases == ["bank-01", "bank-02", "bank-03"]  # nobody took a second one
        stop_run(present)


def test_a_second_process_on_a_copy_of_a_banks_folder_takes_its_place(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=2, quorum=2) as present:
        for number in (1, 2):
            present.give_rows(number, 300)
        present.start_aggregator()
        present.start_banks(1, 2)
        present.start_run("--rounds", str(LONG))
        present.wait("round_committed", lambda event: event.step == 3)
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path / "bank-02", copy)
        present.start_bank(3, data_dir=copy)
        assert present.exit_status("bank-02", 10) == 0
        assert "fenced: another process holds this seat" in present.log_file("bank-02").read_text()
        lease = present.wait("lease_granted", lambda event: event.fencing_number == 2)
        assert lease.seat == "bank-02"
        step = present.events("round_committed")[-1].step
        present.wait("round_committed", lambda event: event.step == step + 3)
        stop_run(present)
        assert {tuple(event.seats) for event in present.events("round_committed")} == {("bank-01", "bank-02")}
        counted = [(event.key.round, event.seat) for event in present.events("contribution_accepted")]
        assert len(counted) == len(set(counted))
        assert not present.events("round_void")


def test_sigterm_ends_every_service_within_five_seconds_a_training_bank_too(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=2, quorum=2) as present:
        present.give_rows(1, 300)
        present.give_rows(2, 300_000)
        present.start_aggregator()
        present.start_banks(1, 2)
        present.start_reporter(tmp_path / "reports")
        run_id = present.start_run()
        present.accepted(run_id, 2, "bank-01")  # bank-02 has seconds of training before it
        for name in ("bank-02", "bank-01", "reporter", "aggregator"):
            began = time.monotonic()
            present.processes[name].terminate()
            assert present.exit_status(name, 10) == 0, name
            assert time.monotonic() - began < 5.0, name
        answered = {(event.key.round, event.seat) for event in present.events("contribution_accepted")}
        assert (2, "bank-02") not in answered
        assert "Traceback" not in "".join(present.log_file(name).read_text() for name in present.processes)


def test_too_few_banks_wait_and_the_network_says_for_what(tmp_path: Path) -> None:
    with network(tmp_path, autostart=True, expected_banks=3, quorum=2, start_wait=0.5, rounds=1) as present:
        for number in (1, 2):
            present.give_rows(number, 300)
        present.start_aggregator()
        present.start_banks(1)
        says = "a quorum of 2 banks, 1 are present"
        wait_for(lambda: present.status()["waiting_for"] == says, says)
        log = present.log_file("aggregator")
        line = r"waiting for banks  waiting_for=(3|a quorum of 2) banks, 1 are present"  # before or after START_WAIT
        wait_for(lambda: re.search(line, log.read_text()), "the log says it")
        assert not present.events("run_started")
        present.start_bank(2)
        assert present.run_ended().outcome == FINISHED
        assert present.status()["waiting_for"] == "an operator to start a run"


def test_three_voids_in_a_row_fail_the_run_and_it_says_why(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=2, quorum=2, round_deadline=0.7) as present:
        for number in (1, 2):
            present.give_rows(number, 300)
        present.start_aggregator()
        present.start_banks(1, 2)
        run_id = present.start_run("--rounds", str(LONG))
        present.wait("round_committed", lambda event: event.step == 1)
        present.kill(2)
        finished = present.run_ended(run_id)
        voids = present.events("round_void")
        last = present.events("round_committed")[-1]
        assert finished.outcome == FAILED
        assert len(voids) == 3
        assert finished.reason.startswith("at most 2 rounds in a row may be void, got 3; the last: ")
        assert finished.reason.endswith(voids[-1].reason)
        assert voids[-1].reason.endswith(("the quorum is 2", "2 are needed"))
        assert finished.model_sha256 == last.model.model_sha256  # the model is what the last committed round made
        assert present.processes["bank-01"].is_alive()
        told = present.status()
        assert (told["banks"]["present"], told["waiting_for"]) == (1, "an operator to start a run")
        assert (told["last_round"]["outcome"], told["last_run"]["outcome"]) == ("void", "failed")
        assert told["last_run"]["reason"] == finished.reason


def test_an_aggregator_that_is_killed_goes_on_with_the_round_and_the_model_is_as_if_nothing_had_happened(
    tmp_path: Path,
) -> None:
    with network(tmp_path, expected_banks=3, rounds=3, seed=7) as present:
        present.start_aggregator()
        present.start_banks(1, 2, 3)
        present.pause(3)
        run_id = present.start_run()
        present.accepted(run_id, 1, "bank-01")
        present.accepted(run_id, 1, "bank-02")
        before = [entry.SerializeToString() for entry in present.entries()]
        present.kill_aggregator()
        present.resume(3)
        present.start_aggregator()
        finished = present.run_ended(run_id)
        assert (finished.outcome, finished.model_sha256.hex()) == (FINISHED, model_sha256("default", 3, 3, 7))
        assert [entry.SerializeToString() for entry in present.entries()][: len(before)] == before
        accepted = [(event.key.round, event.seat) for event in present.events("contribution_accepted")]
        assert len(accepted) == len(set(accepted)) == 3 * 5  # nobody was asked again for what was acknowledged
        opened = [(event.key.round, event.key.attempt) for event in present.events("round_opened")]
        assert opened == [(number, 1) for number in range(1, 6)]
        assert [event.epoch for event in present.events("aggregator_started")] == [1, 2]
        leases = sorted((event.seat, event.fencing_number) for event in present.events("lease_granted"))
        assert leases == [(f"bank-0{number}", lease) for number in (1, 2, 3) for lease in (1, 2)]


def test_a_run_that_was_asked_to_stop_stops_though_the_aggregator_is_killed_first(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=2, quorum=2) as present:
        for number in (1, 2):
            present.give_rows(number, 300)
        present.start_aggregator()
        present.start_banks(1, 2)
        run_id = present.start_run("--rounds", str(LONG))
        present.wait("round_committed", lambda event: event.step == 1)
        present.pause(2)  # the open round waits for it
        assert present.operate("stop") == (0, f"run {run_id} ends after its open round")
        present.kill_aggregator()
        present.resume(2)
        present.start_aggregator()
        finished = present.run_ended(run_id)
        assert (finished.outcome, finished.reason) == (STOPPED, "an operator stopped it")
        last = present.events("round_opened")[-1].key.round
        assert last in {event.key.round for event in present.events("round_committed")}


def test_a_journal_that_was_put_back_is_refused_by_the_banks_that_know_better(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=1, quorum=1, rounds=1) as present:
        present.give_rows(1, 300)
        present.start_aggregator()
        present.start_banks(1)
        present.kill_aggregator()
        older = tmp_path / "older"
        shutil.copytree(tmp_path / "aggregator", older)
        present.start_aggregator()
        present.run_ended(present.start_run())
        present.kill_aggregator()
        shutil.rmtree(tmp_path / "aggregator")
        shutil.copytree(older, tmp_path / "aggregator")
        present.start_aggregator()
        assert present.exit_status("bank-01", 20) == 1
        sentence = "a journal must hold every receipt it gave: bank-01 has one of entry "
        assert sentence in present.log_file("bank-01").read_text()
        said = "WARNING: bank turned away: was DATA_DIR put back to an older state?  seat=bank-01 reason="
        assert said in present.log_file("aggregator").read_text()


def test_a_committed_model_that_was_changed_on_disk_is_refused_at_the_start_and_named(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=1, quorum=1) as present:
        present.give_rows(1, 300)
        present.start_aggregator()
        present.start_banks(1)
        present.start_run("--rounds", str(LONG))
        present.wait("round_committed", lambda event: event.step == 2)
        present.kill_aggregator()
        model = present.events("round_committed")[-1].model.vector_sha256.hex()
        path = tmp_path / "aggregator" / "vectors" / "models" / f"{model}.f32"
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(Misconfigured):
            present.start_aggregator()
        said = present.log_file("aggregator").read_text()
        assert "a committed model must have the hash that the journal says" in said
        assert f"its file {model}.f32 has another" in said
        path.write_bytes(content)
        present.start_aggregator()
        stop_run(present)


def test_an_absent_seat_lapses_and_its_slot_goes_to_the_next_new_bank(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=2, lapse_after=4.0) as present:
        present.start_aggregator()
        present.start_banks(1, 2)
        present.kill(1)
        lapsed = present.wait("seat_lapsed")
        assert (lapsed.seat, lapsed.reason) == ("bank-01", "no lease for 4 s")
        present.start_banks(3)
        issued = [(event.seat, event.slot) for event in present.events("certificate_issued")]
        assert issued == [("bank-01", 1), ("bank-02", 2), ("bank-03", 1)]
        shards = [(tmp_path / f"bank-{number:02d}" / "dataset.parquet").read_bytes() for number in (1, 2, 3)]
        assert shards[0] == shards[2] != shards[1]
        present.start_bank(1)  # its rows are another's now: it may not count them twice
        assert present.exit_status("bank-01", 10) == 1
        sentence = "a slot belongs to one living seat: bank-01 lapsed and bank-03 has its slot now"
        assert sentence in present.log_file("bank-01").read_text()
        states = [line.split()[:2] for line in present.operate("list")[1].splitlines()[1:]]
        assert states == [["bank-01", "lapsed"], ["bank-02", "present"], ["bank-03", "present"]]


def test_a_lapsed_seat_whose_slot_is_free_comes_back(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=1, lapse_after=2.0) as present:
        present.give_rows(1, 300)
        present.start_aggregator()
        present.start_banks(1)
        present.signal(1, signal.SIGTERM)
        present.wait("seat_lapsed")
        present.start_bank(1)
        present.wait("lease_granted", lambda event: event.fencing_number == 2)
        assert present.operate("list")[1].splitlines()[1].split()[:2] == ["bank-01", "present"]
        assert isinstance(present.events("seat_lapsed")[0], history_pb2.SeatLapsed)


def test_verify_beside_an_aggregator_that_works_finds_nothing_amiss(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=1, quorum=1) as present:
        present.give_rows(1, 300)
        present.start_aggregator()
        present.start_banks(1)
        run_id = present.start_run("--rounds", str(LONG))
        present.wait("round_committed", count=2)

        def verified_rounds() -> int:
            found = verify(tmp_path / "aggregator")
            assert found.faults == []
            assert f"run {run_id} has not ended" in found.end
            return len(found.rounds)

        wait_for(lambda: verified_rounds() >= 25, "25 rounds are verified while the run goes on")
        stop_run(present)
        assert verify(tmp_path / "aggregator").end == f"run {run_id} has ended"
