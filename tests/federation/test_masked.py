"""Masked rounds between real processes: the model of a plain computation, whoever is killed at whichever stage."""

from collections import Counter
from pathlib import Path

import pytest

from fedfraud import stored
from fedfraud.masking_parameters import Roster
from fedfraud.v1 import history_pb2, masking_pb2
from services.aggregator.verify import export, verify
from services.bank_client.verify import verify as bank_verify
from tests.federation.networks import FAILED, FINISHED, Network, network
from tests.federation.oracle import model_sha256
from tests.federation.waiting import wait_for
from tests.services.aggregator.test_verify import rewritten

ADVERTISE, SHARE, MASK, CONSENT = (
    masking_pb2.MASKING_STAGE_ADVERTISE,
    masking_pb2.MASKING_STAGE_SHARE,
    masking_pb2.MASKING_STAGE_MASK,
    masking_pb2.MASKING_STAGE_CONSENT,
)
STAGES = [ADVERTISE, SHARE, MASK, CONSENT]
FOUR = (1, 2, 3, 4)


def seats_of(present: Network, number: int) -> list[str]:
    """Whose contributions are in the committed round."""
    (committed,) = [event for event in present.events("round_committed") if event.key.round == number]
    return list(committed.seats)


def closed(present: Network, run_id: str, number: int, stage: masking_pb2.MaskingStage.ValueType) -> None:
    """Waits until a stage of the run's round is over."""
    present.wait(
        "stage_closed",
        lambda event: (event.key.run_id, event.key.round, event.stage) == (run_id, number, stage),
        f"stage {stage} of round {number}",
    )


def never_masked_twice(present: Network) -> None:
    """No bank ever offered two different masked vectors, or two different answers to a stage, for one key."""
    assert not [event for event in present.events("contribution_refused") if event.status == "ALREADY_EXISTS"]
    given = Counter(
        (event.key.run_id, event.key.round, event.seat) for event in present.events("contribution_accepted")
    )
    assert set(given.values()) == {1}


def test_masked_rounds_give_the_model_of_a_plain_computation_and_nothing_that_a_bank_sent_is_its_own_figures(
    tmp_path: Path,
) -> None:
    with network(tmp_path, aggregation="secure", expected_banks=4, rounds=2, seed=7, retention_hours=1.0) as present:
        present.start_aggregator()
        present.start_banks(*FOUR)
        finished = present.run_ended(present.start_run())
        assert (finished.outcome, finished.model_sha256.hex()) == (FINISHED, model_sha256("default", 2, 4, 7))
        assert present.events("run_started")[0].aggregation == 2  # secure
        found = verify(tmp_path / "aggregator")
        assert found.faults == []
        assert [(depth.contributions, depth.sum) for depth in found.rounds] == [("opened again", "recomputed")] * 4
        export(tmp_path / "aggregator", tmp_path / "export", tmp_path / "words")
        ca_pem = (tmp_path / "join" / "bank" / "ca.pem").read_bytes()
        own = bank_verify(tmp_path / "bank-01", ca_pem, tmp_path / "export", tmp_path / "words")
        assert (own.faults, own.receipts, own.summed, own.opened_again) == ([], 4, 4, 4)
        roster = tmp_path / "roster"  # given out of band, of other banks
        roster.write_bytes(stored.to_bytes(Roster.of({"bank-01": bytes(32)})))
        faults = bank_verify(tmp_path / "bank-01", ca_pem, tmp_path / "export", None, roster).faults
        assert [fault.split(": ")[1] for fault in faults] == [
            f"bank-{number:02d} must have the signing key of this bank's roster" for number in (1, 2, 3, 4)
        ]
        path = next((tmp_path / "words").glob("*/00003-1/bank-02.u64"))
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        (fault,) = bank_verify(tmp_path / "bank-01", ca_pem, tmp_path / "export", tmp_path / "words").faults
        assert "a masked vector must have the hash signed for it, got other words from bank-02" in fault
        path.unlink()
        own = bank_verify(tmp_path / "bank-01", ca_pem, tmp_path / "export", tmp_path / "words")
        assert (own.opened_again, own.unopened) == (3, 1)
        # Masked words are uniform: the top byte of a histogram's counts, all of them small, is anything.
        for path in (tmp_path / "aggregator" / "vectors").glob("*/00002-1/*.u64"):
            assert len(set(path.read_bytes()[7:131_072:8])) == 256


@pytest.mark.parametrize("stage", STAGES)
def test_an_aggregator_that_is_killed_after_a_stage_goes_on_to_the_same_model(
    tmp_path: Path, stage: masking_pb2.MaskingStage.ValueType
) -> None:
    with network(tmp_path, aggregation="secure", expected_banks=4, rounds=2, seed=7) as present:
        present.start_aggregator()
        present.start_banks(*FOUR)
        run_id = present.start_run()
        closed(present, run_id, 2, stage)
        present.kill_aggregator()
        present.start_aggregator()
        finished = present.run_ended(run_id)
        abandoned = present.events("round_abandoned")
        assert finished.outcome == FINISHED
        assert abandoned or finished.model_sha256.hex() == model_sha256("default", 2, 4, 7)
        assert not abandoned  # everybody came back in time
        never_masked_twice(present)


@pytest.mark.parametrize("stage", STAGES)
def test_a_bank_that_is_killed_after_a_stage_and_comes_back_never_masks_anew(
    tmp_path: Path, stage: masking_pb2.MaskingStage.ValueType
) -> None:
    with network(
        tmp_path, aggregation="secure", expected_banks=4, quorum=3, rounds=2, seed=7, stage_deadline=20.0
    ) as present:
        present.start_aggregator()
        present.start_banks(*FOUR)
        run_id = present.start_run()
        closed(present, run_id, 2, stage)
        present.kill(4)
        present.start_bank(4)
        finished = present.run_ended(run_id)
        assert finished.outcome == FINISHED
        never_masked_twice(present)
        assert "bank-04" in seats_of(present, 4)  # the last of the rounds


def test_a_bank_that_is_gone_before_it_masks_is_left_out_of_an_exact_sum(tmp_path: Path) -> None:
    five = (1, 2, 3, 4, 5)
    with network(
        tmp_path, aggregation="secure", expected_banks=5, quorum=3, rounds=1, stage_deadline=2.0, round_deadline=4.0
    ) as present:
        for number in five:
            present.give_rows(number, 300)
        present.start_aggregator()
        present.start_banks(*five)
        present.pause(5)
        finished = present.run_ended(present.start_run())
        assert finished.outcome == FINISHED
        assert [seats_of(present, number) for number in (1, 2, 3)] == [[f"bank-0{n}" for n in FOUR]] * 3
        assert [len(event.cohort) for event in present.events("round_opened")] == [5, 4, 4]
        assert verify(tmp_path / "aggregator").faults == []


def test_an_opening_that_gets_stuck_is_abandoned_and_the_next_round_asks_for_a_fresh_update_alone(
    tmp_path: Path,
) -> None:
    with network(
        tmp_path, aggregation="secure", expected_banks=4, quorum=3, rounds=1, seed=7, stage_deadline=6.0
    ) as present:
        for number, rows in ((1, 200_000), (2, 300), (3, 300), (4, 300)):
            present.give_rows(number, rows)
        present.start_aggregator()
        present.start_banks(*FOUR)
        run_id = present.start_run()
        for number in (3, 4):  # while bank-01 still trains, so that nobody has consented
            present.accepted(run_id, 2, f"bank-0{number}")
            present.pause(number)
        abandoned = present.wait("round_abandoned")
        assert (abandoned.key.round, "consent" in abandoned.reason) == (2, True)
        for number in (3, 4):
            present.resume(number)
        finished = present.run_ended(run_id)
        prepared, trained = present.events("round_committed")[:2]
        opened = {event.key.round: event for event in present.events("round_opened")}
        assert opened[2].model_sha256 == opened[trained.key.round].model_sha256 == prepared.model.model_sha256
        assert [len(opened[number].segments) for number in (2, trained.key.round)] == [2, 1]  # scores are opened once
        assert finished.outcome == FINISHED
        assert verify(tmp_path / "aggregator").faults == []


def test_a_further_run_with_more_banks_uses_the_scaler_that_was_opened_and_another_seed(tmp_path: Path) -> None:
    with network(tmp_path, aggregation="secure", expected_banks=4, rounds=1, seed=7) as present:
        for number in range(1, 6):
            present.give_rows(number, 300)
        present.start_aggregator()
        present.start_banks(*FOUR)
        first = present.start_run()
        assert present.run_ended(first).outcome == FINISHED
        present.start_banks(5)
        second = present.start_run()
        assert present.run_ended(second).outcome == FINISHED
        begun = present.events("run_started")
        assert [event.seed for event in begun] == [7, 8]
        assert [event.HasField("run_state") for event in begun] == [False, True]
        standardised = [event for event in present.events("round_committed") if event.HasField("run_state")]
        assert [event.key.run_id for event in standardised] == [first]
        assert begun[1].run_state == standardised[0].run_state
        last = present.events("round_committed")[-1]
        assert (last.key.run_id, len(last.seats)) == (second, 5)
        assert verify(tmp_path / "aggregator").faults == []
        present.stop()

        def of_another_task(entries: list[history_pb2.Entry]) -> list[history_pb2.Entry]:
            [entry for entry in entries if entry.HasField("round_opened")][-1].round_opened.task_sha256 = bytes(32)
            return entries

        rewritten(tmp_path / "aggregator", of_another_task)
        assert "the task that banks signed must be" in "\n".join(verify(tmp_path / "aggregator").faults)


def test_figures_that_were_opened_are_not_opened_over_other_banks_and_the_run_says_why(tmp_path: Path) -> None:
    with network(tmp_path, aggregation="secure", expected_banks=4, rounds=1, seed=7, stage_deadline=5.0) as present:
        for number in range(1, 6):
            present.give_rows(number, 300)
        present.start_aggregator()
        present.start_banks(*FOUR)
        assert present.run_ended(present.start_run()).outcome == FINISHED
        assert (
            present.run_ended(present.start_run("--seed", "7")).outcome == FINISHED
        )  # over the same banks: nothing new
        present.start_banks(5)
        failed = present.run_ended(present.start_run("--seed", "7"))
        assert failed.outcome == FAILED
        assert "bank-01 (opened before), bank-02 (opened before)" in failed.reason
        said = present.log_file("bank-01").read_text()
        assert "figures must be opened over the same banks and rows each time, got evaluate " in said


def test_what_a_masked_round_left_on_a_banks_disk_is_gone_when_the_run_is_over(tmp_path: Path) -> None:
    with network(tmp_path, aggregation="secure", expected_banks=4, rounds=1) as present:
        for number in FOUR:
            present.give_rows(number, 300)
        present.start_aggregator()
        present.start_banks(*FOUR)
        present.start_run()
        present.run_ended()
        folder = tmp_path / "bank-01"
        wait_for(lambda: not (folder / "attempt.json").exists(), "the attempt is erased")
        wait_for(lambda: not (folder / "contribution.bin").exists(), "the contribution is erased")
        assert (folder / "openings.bin").stat().st_size == 64 * (
            1 + 3 + 5 + 3
        )  # the format; three rounds: figures left, run, over whom
        assert (folder / "roster.json").exists()
        assert isinstance(present.events("stage_answered")[0], history_pb2.StageAnswered)
