"""What `operate status` shows: one screen for people, one JSON object for programs. Pure."""

from collections.abc import Sequence
from typing import Any

from fedfraud.v1 import history_pb2, masking_pb2, model_pb2, operation_pb2

_MOST_SEATS = 12
"""Seats that a line names; of more it says how many."""
_MOST_LETTERS = 200
"""Of a reason, on the screen; the JSON has all of it."""


def screen(status: operation_pb2.GetStatusResponse) -> str:
    """A line each, the label first; what there is nothing to say of has no line."""
    lines = [("banks", _banks(status))]
    if status.silent:
        lines.append(("left out", f"{_seats(status.silent)}, until they speak"))
    if status.run_id:
        lines.append(("run", f"{status.run_id}, {status.committed_count} of {status.round_count} rounds"))
    if status.HasField("key"):
        lines += _open_round(status)
    elif status.waiting_for:
        lines.append(("waiting for", status.waiting_for))
    if status.HasField("last_round"):
        lines.append(("last round", _last_round(status.last_round)))
    if status.HasField("last_run"):
        lines.append(("last run", _last_run(status.last_run)))
    head = status.journal_head.hex()[:16] or "-"
    lines.append(("journal", f"{status.journal_sequence} entries, head {head}, epoch {status.epoch}"))
    if status.disk_failure:
        lines.append(("disk", f"FAILS, nothing is acknowledged: {status.disk_failure[:_MOST_LETTERS]}"))
    return "\n".join(f"{label:<13}{text}" for label, text in lines)


def as_json(status: operation_pb2.GetStatusResponse) -> dict[str, Any]:
    """The same in full: hashes in hex, seconds as numbers, null where there is nothing."""
    return {
        "run": _run_json(status) if status.run_id else None,
        "round": _round_json(status) if status.HasField("key") else None,
        "waiting_for": status.waiting_for or None,
        "banks": {
            "present": status.present_count,
            "absent": status.absent_count,
            "lapsed": status.lapsed_count,
            "revoked": status.revoked_count,
        },
        "silent": list(status.silent),
        "last_round": _last_round_json(status.last_round) if status.HasField("last_round") else None,
        "last_run": _last_run_json(status.last_run) if status.HasField("last_run") else None,
        "journal": {"sequence": status.journal_sequence, "head": status.journal_head.hex()},
        "epoch": status.epoch,
        "disk_failure": status.disk_failure or None,
    }


def _banks(status: operation_pb2.GetStatusResponse) -> str:
    counts = {"absent": status.absent_count, "lapsed": status.lapsed_count, "revoked": status.revoked_count}
    others = "".join(f", {count} {state}" for state, count in counts.items() if count)
    return f"{status.present_count} present{others}"


def _open_round(status: operation_pb2.GetStatusResponse) -> list[tuple[str, str]]:
    attempt = f", attempt {status.key.attempt}" if status.key.attempt > 1 else ""
    stage = f", stage {_stage(status)}" if status.stage else ""
    asked = len(status.answered) + len(status.awaited)
    since = f"for {status.waited_seconds:.1f} s, {status.left_seconds:.1f} s are left"
    lines = [
        ("round", f"{status.key.round}{attempt}: {', '.join(_segments(status))}{stage}"),
        (
            "answered",
            f"{len(status.answered)} of {asked}" + (f": {_seats(status.answered)}" if status.answered else ""),
        ),
        ("waiting for", f"{_seats(status.awaited)} {since}" if status.awaited else "nobody"),
    ]
    return lines + ([("dropped", _seats(status.dropped))] if status.dropped else [])


def _last_round(ended: operation_pb2.EndedRound) -> str:
    banks = f"{ended.bank_count} bank{'' if ended.bank_count == 1 else 's'}"
    reason = f": {ended.reason[:_MOST_LETTERS]}" if ended.reason else ""
    return f"{ended.key.round} {_outcome(ended)} with {banks} in {ended.seconds:.2f} s{reason}"


def _last_run(finished: history_pb2.RunFinished) -> str:
    reason = f": {finished.reason[:_MOST_LETTERS]}" if finished.reason else ""
    return f"{finished.run_id} {_run_outcome(finished)}{reason}, model {finished.model_sha256.hex()[:16] or '-'}"


def _seats(seats: Sequence[str]) -> str:
    others = f" and {len(seats) - _MOST_SEATS} others" if len(seats) > _MOST_SEATS else ""
    return ", ".join(seats[:_MOST_SEATS]) + others


def _run_json(status: operation_pb2.GetStatusResponse) -> dict[str, Any]:
    return {"id": status.run_id, "committed_rounds": status.committed_count, "rounds": status.round_count}


def _round_json(status: operation_pb2.GetStatusResponse) -> dict[str, Any]:
    return {
        "round": status.key.round,
        "attempt": status.key.attempt,
        "segments": _segments(status),
        "stage": _stage(status) if status.stage else None,
        "answered": list(status.answered),
        "awaited": list(status.awaited),
        "dropped": list(status.dropped),
        "waited_seconds": status.waited_seconds,
        "left_seconds": status.left_seconds,
    }


def _last_round_json(ended: operation_pb2.EndedRound) -> dict[str, Any]:
    return {
        "round": ended.key.round,
        "attempt": ended.key.attempt,
        "outcome": _outcome(ended),
        "banks": ended.bank_count,
        "seconds": ended.seconds,
        "reason": ended.reason or None,
    }


def _last_run_json(finished: history_pb2.RunFinished) -> dict[str, Any]:
    return {
        "id": finished.run_id,
        "outcome": _run_outcome(finished),
        "reason": finished.reason or None,
        "model_sha256": finished.model_sha256.hex() or None,
    }


def _segments(status: operation_pb2.GetStatusResponse) -> list[str]:
    return [model_pb2.SegmentKind.Name(kind).removeprefix("SEGMENT_KIND_").lower() for kind in status.segments]


def _stage(status: operation_pb2.GetStatusResponse) -> str:
    return masking_pb2.MaskingStage.Name(status.stage).removeprefix("MASKING_STAGE_").lower()


def _outcome(ended: operation_pb2.EndedRound) -> str:
    return operation_pb2.RoundOutcome.Name(ended.outcome).removeprefix("ROUND_OUTCOME_").lower()


def _run_outcome(finished: history_pb2.RunFinished) -> str:
    return history_pb2.RunOutcome.Name(finished.outcome).removeprefix("RUN_OUTCOME_").lower()
