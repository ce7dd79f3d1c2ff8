"""`operate status` on a network of real processes: in plain and masked rounds, after a void one, after a restart."""

import json
import sys
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest

from tests.federation.journals import lines
from tests.federation.networks import FINISHED, network
from tests.federation.waiting import wait_for

ROOT = Path(__file__).parents[2]


def test_a_round_that_waits_for_a_bank_is_told_with_the_seconds_that_it_has_waited(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=2, quorum=2, rounds=1) as present:
        for number in (1, 2):
            present.give_rows(number, 300)
        present.start_aggregator()
        present.start_banks(1, 2)
        present.pause(2)
        run_id = present.start_run()
        present.accepted(run_id, 1, "bank-01")
        first = present.status()
        wait_for(lambda: present.status()["round"]["waited_seconds"] > first["round"]["waited_seconds"] + 0.3, "more")
        assert first["run"] == {"id": run_id, "committed_rounds": 0, "rounds": 1}
        told = first["round"]
        assert (told["round"], told["attempt"], told["segments"], told["stage"]) == (1, 1, ["standardise"], None)
        assert (told["answered"], told["awaited"], told["dropped"]) == (["bank-01"], ["bank-02"], [])
        assert told["waited_seconds"] + told["left_seconds"] == pytest.approx(60, abs=0.5)
        assert (first["waiting_for"], first["last_round"], first["last_run"]) == (None, None, None)
        assert first["banks"] == {"present": 2, "absent": 0, "lapsed": 0, "revoked": 0}

        present.kill_aggregator()
        present.start_aggregator()
        wait_for(lambda: present.status()["banks"]["present"] == 1, "the bank that is not paused comes back")
        again = present.status()
        assert (again["epoch"], again["round"]["answered"], again["round"]["awaited"]) == (2, ["bank-01"], ["bank-02"])

        present.resume(2)
        assert present.run_ended().outcome == FINISHED
        ended, committed = present.status(), present.events("round_committed")[-1]
        assert (ended["run"], ended["round"], ended["waiting_for"]) == (None, None, "an operator to start a run")
        assert ended["last_round"] == {
            "round": 3,
            "attempt": 1,
            "outcome": "committed",
            "banks": 2,
            "seconds": committed.seconds,
            "reason": None,
        }
        assert ended["last_run"]["model_sha256"] == committed.model.model_sha256.hex()
        sequence, head = ended["journal"]["sequence"], ended["journal"]["head"]
        assert lines(present.run_dir / "aggregator")[sequence - 1] == (sequence, head)


def test_a_masked_round_is_told_with_its_stage_and_whom_it_goes_on_without(tmp_path: Path) -> None:
    with network(tmp_path, aggregation="secure", expected_banks=5, quorum=4, rounds=1, stage_deadline=3.0) as present:
        for number in range(1, 6):
            present.give_rows(number, 300)
        present.start_aggregator()
        present.start_banks(1, 2, 3, 4, 5)
        present.pause(5)
        run_id = present.start_run()

        def open_round() -> dict[str, Any]:
            return present.status()["round"] or {}

        told = wait_for(lambda: [now for now in [open_round()] if now.get("awaited") == ["bank-05"]], "one is awaited")
        assert told[0]["stage"] == "advertise"
        assert 0 < told[0]["left_seconds"] <= 3.0
        present.pause(4)  # the next stage waits for it too
        told = wait_for(lambda: [now for now in [open_round()] if now.get("awaited") == ["bank-04"]], "it goes on")
        assert (told[0]["stage"], told[0]["dropped"]) == ("share", ["bank-05"])
        assert told[0]["answered"] == ["bank-01", "bank-02", "bank-03"]
        present.wait("round_void", lambda event: event.key.run_id == run_id)
        ended = present.status()
        assert (ended["last_round"]["outcome"], ended["silent"]) == ("void", ["bank-04", "bank-05"])
        assert ended["last_round"]["reason"].startswith("stage share must have answers of 4 banks, got 3")


def test_watching_shows_the_status_again_and_again_until_ctrl_c_and_past_a_certificates_end(tmp_path: Path) -> None:
    with network(tmp_path, operator_certificate_minutes=0.05) as present:  # three seconds
        present.start_aggregator()
        words = [sys.executable, "-m", "services.aggregator", "operate", "status", "--watch", "--json"]
        environment = {
            "AGGREGATOR": present.address,
            "ENROLMENT": present.enrolment_address,
            "JOIN_DIR": str(present.join_dir / "operator"),
        }
        with Popen(words, cwd=ROOT, env=environment, stdout=PIPE, stderr=PIPE) as watching:
            assert watching.stdout is not None
            entries = [json.loads(watching.stdout.readline())["journal"]["sequence"] for _ in range(6)]
            watching.send_signal(2)
            assert watching.wait(30) == 130
            assert watching.stderr is not None
            assert watching.stderr.read() == b""
        assert entries[0] < entries[-1]  # its first certificate ended and another one is in the journal
