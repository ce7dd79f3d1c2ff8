"""Journal entries as sentences for people: who came and went, what each round came to, what was refused."""

from datetime import UTC
from typing import Literal

from fedfraud.v1 import history_pb2, model_pb2
from services.reporter.attempt import SILENT, Attempt
from services.reporter.facts import Event
from services.reporter.reading import agreed
from services.reporter.round_facts import MissingAnswer

Kind = Literal["run", "round", "bank", "missing", "refusal", "aggregator"]
Level = Literal["info", "warning", "error"]
_LONGEST = 300
_OUTCOMES: dict[int, tuple[str, Level]] = {
    history_pb2.RUN_OUTCOME_FINISHED: ("finished", "info"),
    history_pb2.RUN_OUTCOME_STOPPED: ("was stopped", "warning"),
    history_pb2.RUN_OUTCOME_FAILED: ("failed", "error"),
}
_Ended = history_pb2.RoundCommitted | history_pb2.RoundVoid | history_pb2.RoundAbandoned


class Wording:
    """Follows the journal, because what a sentence says depends on what came before it."""

    def __init__(self) -> None:
        self._attempt: Attempt | None = None
        self._revoked: set[str] = set()
        self._leases: dict[str, int] = {}

    def events(self, entry: history_pb2.Entry) -> list[Event]:
        """What the entry has to say; nothing for most of them."""
        time = entry.time.ToDatetime(UTC)
        if self._attempt is not None:
            self._attempt.take(entry)
        return [Event(time=time, kind=kind, level=level, text=text) for kind, level, text in self._say(entry)]

    def _say(self, entry: history_pb2.Entry) -> list[tuple[Kind, Level, str]]:
        match entry.WhichOneof("event"):
            case "aggregator_started" if entry.aggregator_started.epoch > 1:
                return [("aggregator", "warning", f"The aggregator started again, its {_th(entry)} start.")]
            case "run_started":
                return [("run", "info", _started(entry.run_started))]
            case "run_stop_requested":
                return [("run", "warning", "An operator asked the run to stop after its open round.")]
            case "run_finished":
                return [_finished(entry.run_finished)]
            case "round_opened":
                self._attempt = Attempt(entry.round_opened, entry.time.ToDatetime(UTC))
            case "round_committed":
                return self._committed(entry.round_committed)
            case "round_void":
                return self._without_result(entry.round_void, "void")
            case "round_abandoned":
                return self._without_result(entry.round_abandoned, "abandoned")
            case "contribution_refused":
                refused = entry.contribution_refused
                words = f"A contribution of {_cut(refused.seat)} was refused ({_cut(refused.status)})"
                return [("refusal", "warning", f"{words}: {_cut(refused.reason)}")]
            case _:
                return self._seats(entry)
        return []

    def _seats(self, entry: history_pb2.Entry) -> list[tuple[Kind, Level, str]]:
        match entry.WhichOneof("event"):
            case "lease_granted":
                lease = entry.lease_granted
                known, self._leases[lease.seat] = lease.seat in self._leases, lease.fencing_number
                return [("bank", "info", f"{_cut(lease.seat)} {'is back' if known else 'joined'}.")]
            case "seat_absent":
                gone = entry.seat_absent
                if self._leases.get(gone.seat) == gone.fencing_number and gone.seat not in self._revoked:
                    return [("bank", "warning", f"{_cut(gone.seat)} is gone.")]
            case "seat_lapsed":
                return [("bank", "warning", f"{_cut(entry.seat_lapsed.seat)} lapsed: {_cut(entry.seat_lapsed.reason)}")]
            case "certificate_revoked" if entry.certificate_revoked.seat:
                revoked = entry.certificate_revoked
                self._revoked.add(revoked.seat)
                return [("bank", "error", f"{_cut(revoked.seat)} was revoked: {_cut(revoked.reason)}")]
        return []

    def _committed(self, done: history_pb2.RoundCommitted) -> list[tuple[Kind, Level, str]]:
        asked = len(self._attempt.facts.cohort) if self._attempt else len(done.seats)
        words = f"{_name(done)} is committed with {len(done.seats)} of {asked} banks."
        return [("round", "info", words), *self._missing(done)]

    def _without_result(
        self, ended: history_pb2.RoundVoid | history_pb2.RoundAbandoned, outcome: str
    ) -> list[tuple[Kind, Level, str]]:
        words = f"{_name(ended)} is {outcome} and the model unchanged: {_cut(ended.reason)}"
        return [("round", "warning", words), *self._missing(ended)]

    def _missing(self, ended: _Ended) -> list[tuple[Kind, Level, str]]:
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return []
        committed = isinstance(ended, history_pb2.RoundCommitted)
        return _told(attempt.missing(list(ended.seats), committed=committed))


def _told(missing: list[MissingAnswer]) -> list[tuple[Kind, Level, str]]:
    """One line a stage and a reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in sorted(missing, key=lambda one: (len(one.seat), one.seat)):
        groups.setdefault((one.reason, one.stage or ""), []).append(_cut(one.seat))
    found: list[tuple[Kind, Level, str]] = []
    for (reason, stage), seats in groups.items():
        shown = ", ".join(seats[:10]) + (f" and {len(seats) - 10} more" if len(seats) > 10 else "")
        where = f" at stage {stage}" if stage else ""
        words = f"No answer in time from {shown}{where}." if reason == SILENT else f"{shown} {reason}{where}."
        found.append(("missing", "warning", words))
    return found


def _started(started: history_pb2.RunStarted) -> str:
    rounds = f"{started.round_count} training {agreed(started.round_count, 'round')}"
    return (
        f"Run {_cut(started.run_id)} began: {rounds}, each needs at least {started.quorum} of "
        f"{started.expected_bank_count} expected banks."
    )


def _finished(finished: history_pb2.RunFinished) -> tuple[Kind, Level, str]:
    words, level = _OUTCOMES.get(finished.outcome, ("failed", "error"))
    reason = f": {_cut(finished.reason)}" if finished.reason else "."
    return "run", level, f"Run {_cut(finished.run_id)} {words}{reason}"


def _name(ended: _Ended) -> str:
    if model_pb2.SEGMENT_KIND_TRAIN in ended.segments:
        return f"Training round {ended.step}"
    if model_pb2.SEGMENT_KIND_COUNT in ended.segments:
        return "The counting round"
    return "The preparing round" if ended.step == 0 else "The final round"


def _th(entry: history_pb2.Entry) -> str:
    epoch = entry.aggregator_started.epoch
    return {2: "second", 3: "third"}.get(epoch, f"{epoch}th")


def _cut(text: str) -> str:
    """One line of what others wrote."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
