"""The operator's screen: what it says of each state, and that it stays one screen."""

import json

from fedfraud.v1 import history_pb2, masking_pb2, model_pb2, operation_pb2
from services.aggregator.screen import as_json, screen


def masked_round(**others: object) -> operation_pb2.GetStatusResponse:
    """The third round of a run, in which one of three banks is waited for."""
    return operation_pb2.GetStatusResponse(
        run_id="run-1",
        committed_count=1,
        round_count=10,
        key=model_pb2.RoundKey(run_id="run-1", round=3, attempt=1),
        segments=[model_pb2.SEGMENT_KIND_EVALUATE, model_pb2.SEGMENT_KIND_TRAIN],
        stage=masking_pb2.MASKING_STAGE_CONSENT,
        answered=["bank-01", "bank-02"],
        awaited=["bank-04"],
        dropped=["bank-03"],
        waited_seconds=1.25,
        left_seconds=8.75,
        present_count=4,
        journal_sequence=57,
        journal_head=bytes(range(32)),
        epoch=2,
        **others,  # type: ignore[arg-type]  # one or another field
    )


def test_a_masked_round_shows_its_stage_and_who_is_waited_for_since_when() -> None:
    assert screen(masked_round()).splitlines() == [
        "banks        4 present",
        "run          run-1, 1 of 10 rounds",
        "round        3: evaluate, train, stage consent",
        "answered     2 of 3: bank-01, bank-02",
        "waiting for  bank-04 for 1.2 s, 8.8 s are left",
        "dropped      bank-03",
        "journal      57 entries, head 0001020304050607, epoch 2",
    ]


def test_an_idle_network_shows_how_the_last_round_and_run_ended() -> None:
    void = operation_pb2.EndedRound(
        key=model_pb2.RoundKey(run_id="run-1", round=4, attempt=2),
        outcome=operation_pb2.ROUND_OUTCOME_VOID,
        bank_count=1,
        seconds=60.004,
        reason="1 bank answered in time, the quorum is 2",
    )
    failed = history_pb2.RunFinished(run_id="run-1", outcome=history_pb2.RUN_OUTCOME_FAILED, reason="too many voids")
    status = operation_pb2.GetStatusResponse(
        absent_count=2,
        revoked_count=1,
        waiting_for="an operator to start a run",
        silent=["bank-02"],
        last_round=void,
        last_run=failed,
        disk_failure="disk I/O error",
    )
    assert screen(status).splitlines() == [
        "banks        0 present, 2 absent, 1 revoked",
        "left out     bank-02, until they speak",
        "waiting for  an operator to start a run",
        "last round   4 void with 1 bank in 60.00 s: 1 bank answered in time, the quorum is 2",
        "last run     run-1 failed: too many voids, model -",
        "journal      0 entries, head -, epoch 0",
        "disk         FAILS, nothing is acknowledged: disk I/O error",
    ]


def test_a_thousand_banks_are_one_screen_and_all_of_them_in_the_json() -> None:
    status = operation_pb2.GetStatusResponse(
        key=model_pb2.RoundKey(run_id="run-1", round=1, attempt=1),
        answered=[f"bank-{n:03d}" for n in range(600)],
        awaited=[f"bank-{n:03d}" for n in range(600, 1000)],
    )
    lines = screen(status).splitlines()
    assert len(lines) < 20
    assert max(map(len, lines)) < 200
    assert "bank-611 and 388 others" in screen(status)
    assert (len(as_json(status)["round"]["answered"]), len(as_json(status)["round"]["awaited"])) == (600, 400)


def test_a_caller_s_words_cannot_fill_the_screen() -> None:
    status = operation_pb2.GetStatusResponse(
        last_round=operation_pb2.EndedRound(outcome=operation_pb2.ROUND_OUTCOME_ABANDONED, reason="x" * 10_000)
    )
    assert len(screen(status)) < 500
    assert len(as_json(status)["last_round"]["reason"]) == 10_000


def test_the_json_has_every_key_in_every_state() -> None:
    idle, busy = as_json(operation_pb2.GetStatusResponse()), as_json(masked_round())
    assert idle.keys() == busy.keys()
    assert (idle["run"], idle["round"], idle["last_round"], idle["disk_failure"]) == (None, None, None, None)
    assert busy["journal"] == {"sequence": 57, "head": bytes(range(32)).hex()}
    assert (busy["round"]["stage"], busy["round"]["waited_seconds"]) == ("consent", 1.25)
    json.dumps([idle, busy])
